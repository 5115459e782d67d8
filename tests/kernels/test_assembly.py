"""The two readers of kernels' headers, web/engine/assembly.js and tests/kernels/assembly.py, agree;

and what they make of a kernel is what a compiler should get.
"""

import re

import numpy as np
import pytest

from tests.kernels import assembly, gpu
from tests.kernels.in_node import ask

SILU = assembly.text_of("silu")
PART = "// part scaled    v * FACTOR\n\noverride FACTOR: f32 = 2.0;\n"
HEAD = "// odd    nothing\n//\n//   grid   count/256 stride\n"
DIMS = "struct Dims { count: u32, at: f32 }\n"
BUFFER = "@group(0) @binding({}) var<storage, {}> {}: array<f32>;\n"
X, Y = BUFFER.format(1, "read", "x"), BUFFER.format(2, "read_write", "y")
MAIN = "fn main() {}\n"
ODD = {  # texts of a kernel, and of the parts that it names
    "plain": {"odd": HEAD + DIMS + X + Y + MAIN},
    "blanks": {"odd": HEAD.replace("stride", "stride  ").replace("grid   ", "grid ")
               + DIMS.replace(", ", ",\n  ") + X + Y + MAIN},
    "three terms": {"odd": HEAD.replace("count/256 stride", "count/A, 4*at , 1") + DIMS + X + Y
                    + "override A: u32 = 8u;\n" + MAIN},
    "a part": {"odd": HEAD + "//   parts  scaled\n" + DIMS + X + Y + MAIN, "parts/scaled": PART},
    "two parts": {"odd": HEAD + "//   parts  scaled ,bound  \n" + DIMS + Y + MAIN,
                  "parts/scaled": PART, "parts/bound": "// part bound    x\n" + X},
    "slots apart": {"odd": HEAD + DIMS + BUFFER.format(7, "read_write", "y")
                    + BUFFER.format(12, "read", "x").replace("12", "3") + MAIN},
    "overrides": {"odd": HEAD + DIMS + X + Y + "override A: u32 = 8u;\noverride B: f32 = -0.5;\n"
                  "override C: bool = true;\noverride D: u32 = A / 2u;  // of A\n"
                  "override E: f32 = 1e-3;\n// override no: u32\n" + MAIN},
    "no grid": {"odd": HEAD.replace("grid", "grill") + DIMS + X + Y + MAIN},
    "an empty grid": {"odd": HEAD.replace("count/256 stride", "") + DIMS + X + Y + MAIN},
    "no Dims": {"odd": HEAD + X + Y + MAIN},
    "empty Dims": {"odd": HEAD + "struct Dims {}\n" + X + Y + MAIN},
    "Dims of a part": {"odd": HEAD + "//   parts  dims\n" + X + Y + MAIN,
                       "parts/dims": "// part dims    Dims\n" + DIMS},
    "nothing written": {"odd": HEAD + DIMS + X + MAIN},
    "nothing bound": {"odd": HEAD + DIMS + MAIN},
    "two written": {"odd": HEAD + DIMS + X.replace("read>", "read_write>") + Y + MAIN},
    "written first": {"odd": HEAD + DIMS + BUFFER.format(3, "read", "x") + Y + MAIN},
    "one slot for two": {"odd": HEAD + DIMS + X.replace("(1)", "(2)") + Y + MAIN},
    "the slot of dims": {"odd": HEAD + DIMS + X.replace("(1)", "(0)") + Y + MAIN},
    "no type": {"odd": HEAD + DIMS + X + Y + "override A = 8u;\n" + MAIN},
    "no default": {"odd": HEAD + DIMS + X + Y + "override A: u32;\n" + MAIN},
    "another type": {"odd": HEAD + DIMS + X + Y + "override A: i32 = 1i;\n" + MAIN},
    "indented": {"odd": HEAD + DIMS + X + Y + "  override A: u32 = 1u;\n" + MAIN},
}
VARIANTS = [  # of all overrides of "overrides"
    {}, {"A": 16}, {"B": 2}, {"B": 0.125}, {"C": False}, {"C": 1}, {"A": 1, "B": -3, "C": 0},
    {"F16": 1}, {"D": 1}, {"A": 0.5}, {"A": -1}, {"C": 2}, {"Z": 1},
]
READ = """(module, texts, name) => {
  const told = (call) => { try { return call(); } catch ({ message }) { return { message }; } };
  return told(() => {
    const { dims, grid, stride, bindings, overrides, pieces }
      = module.readKernel(name, (file) => texts[file]);
    return { dims: dims.map(({ field, type }) => [field, type]), grid, stride, overrides,
      bindings: bindings.map((one) => [one.slot, one.name, one.writes]),
      pieces: pieces.map(({ file, text }) => [file, text]) };
  });
}"""
ASSEMBLE = """(module, texts, variants) => variants.map(([name, constants]) => {
  const kernel = module.readKernel(name, (file) => texts[file]);
  try { return module.assemble(kernel, constants); } catch ({ message }) { return { message }; }
})"""


def read(texts, name):
    """As READ does it."""
    try:
        kernel = assembly.read_kernel(name, texts.get)
    except assembly.InterfaceError as error:
        return {"message": str(error)}
    return {"dims": [list(dim) for dim in kernel.dims], "grid": kernel.grid,
            "stride": kernel.stride, "overrides": {k: float(v) for k, v in kernel.defaults.items()},
            "bindings": [list(binding[:3]) for binding in kernel.bindings],
            "pieces": [list(piece) for piece in kernel.pieces]}


def all_texts():
    return {path.relative_to(assembly.WGSL).with_suffix("").as_posix(): path.read_text("utf-8")
            for path in [*assembly.WGSL.glob("*.wgsl"), *assembly.WGSL.glob("parts/*.wgsl")]}


def test_both_read_every_kernel_alike():
    texts = all_texts()
    theirs = ask("engine/assembly.js",
                 f"(module, texts, names) => names.map((name) => ({READ})(module, texts, name))",
                 texts, assembly.NAMES)
    assert theirs == [read(texts, name) for name in assembly.NAMES]
    assert all("message" not in kernel for kernel in theirs)


@pytest.mark.parametrize("case", ODD)
def test_both_read_odd_headers_alike(case):
    want = read(ODD[case], "odd")
    assert ask("engine/assembly.js", READ, ODD[case], "odd") == want
    refused = "message" in want
    assert refused == (list(ODD).index(case) >= list(ODD).index("no grid")), want


def test_both_assemble_alike():
    texts = all_texts() | ODD["overrides"]
    kernels = {name: assembly.read_kernel(name, texts.get) for name in [*assembly.NAMES, "odd"]}
    variants = [["odd", constants] for constants in VARIANTS]
    variants += [[name, {}] for name in assembly.NAMES]
    variants += [["linear_packed_tiled", {"F16": 1, "ROWS": 32, "GROUP": 112, "ZERO": 0.5}],
                 ["linear_packed_subgroup", {"BITS": 1, "BIASED": 1, "ACT": 2}]]

    def assembled(name, constants):
        try:
            return assembly.assemble(kernels[name], constants, ("f16", "subgroups"))
        except assembly.InterfaceError as error:
            return {"message": str(error)}

    theirs = ask("engine/assembly.js", ASSEMBLE, texts, variants)
    assert theirs == [assembled(*variant) for variant in variants]
    refused = [constants for (_, constants), got in zip(variants, theirs, strict=True)
               if isinstance(got, dict)]
    assert refused == VARIANTS[-5:]


def test_a_variant_is_a_matter_of_constants_alone():
    odd = assembly.read_kernel("odd", ODD["overrides"].get)
    text = assembly.assemble(odd, {"A": 16, "C": False})
    assert re.findall(r"^(?:const|override) .*", text, re.M) == [
        "const A: u32 = 16u;", "const B: f32 = -0.5;", "const C: bool = false;",
        "const D: u32 = A / 2u;  // of A", "const E: f32 = 1e-3;"]
    plain = ODD["overrides"]["odd"].replace("\noverride ", "\nconst ")
    assert assembly.assemble(odd, {}) == plain


@pytest.mark.parametrize("name", assembly.NAMES)
def test_what_is_compiled_has_no_override(name):
    text = assembly.assemble(assembly.interface(name), {})
    assert not re.search(r"^[^/]*\boverride\b", text, re.M)


def test_every_line_has_its_place():
    """Of a kernel of two parts: the line at a place is the line of the assembled text."""
    kernel = assembly.interface("linear_packed_tiled")
    lines = assembly.assemble(kernel, {"F16": 1}).replace("\nconst ", "\noverride ").split("\n")
    places = [assembly.place_of(kernel, i + 1) for i in range(len(lines))]
    assert {file for file, _ in places} == {
        "parts/packed", "parts/epilogue", "linear_packed_tiled"}
    texts = dict(kernel.pieces)
    for line, (file, own) in list(zip(lines, places, strict=True))[1:]:
        want = texts[file].split("\n")[own - 1]
        assert line.replace("override DEPTH =", "const DEPTH =") == want
    theirs = ask("engine/assembly.js", """(module, texts, name, count) => {
      const kernel = module.readKernel(name, (file) => texts[file]);
      return Array.from({ length: count }, (_, i) => module.placeOf(kernel, i + 1));
    }""", all_texts(), kernel.name, len(lines))
    assert [(place["file"], place["line"]) for place in theirs] == places


@pytest.mark.parametrize("file, right, wrong", [
    ("parts/epilogue", "dims.n0 + n", "dims.n0 + nn"),
    ("linear_dense", "var y1 = vec4f()", "var y1 = vecf()"),
])
def test_a_complaint_of_the_compiler_names_the_file_and_its_line(monkeypatch, file, right, wrong):
    texts = all_texts()
    line = texts[file][: texts[file].index(right)].count("\n") + 1
    texts[file] = texts[file].replace(right, wrong)
    broken = assembly.read_kernel("linear_dense", texts.get)
    monkeypatch.setattr(gpu, "interface", lambda name: broken)
    with pytest.raises(gpu.InterfaceError, match=rf"{file}\.wgsl:{line}:\d+"):
        gpu.pipeline.__wrapped__("linear_dense", ())


def test_a_part_counts_in_what_a_kernel_computes(monkeypatch):
    """Not the kernel's own text alone is compiled."""
    texts = all_texts()
    texts["parts/epilogue"] = texts["parts/epilogue"].replace(
        "default: { y[at] = r; }", "default: { y[at] = 3.0 * r; }")
    altered = assembly.read_kernel("linear_dense", texts.get)
    monkeypatch.setattr(gpu, "interface", lambda name: altered)
    monkeypatch.setattr(gpu, "pipeline", gpu.pipeline.__wrapped__)
    one = np.ones(4, np.float32)
    got = gpu.run("linear_dense",
                  {"M": 1, "N": 1, "K": 4, "K_all": 4, "n0": 0, "k0": 0, "gate_at": 0},
                  {"x": one, "w": one, "bias": one, "gate": one, "y": (1, 1)}, {"FORMAT": 0})
    assert got.tolist() == [[12]]
