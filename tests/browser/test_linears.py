"""Linears as the engine records them: bias, activation, parts of a matrix, groups of any width."""

import base64

import numpy as np
import pytest

from tests import oracles
from tests.browser.library import LibraryError
from tests.browser.opened_engine import OPEN
from tests.kernels import assembly
from tests.kernels.packing import BF16, encode, integers, normal, pack_codes
from tests.tolerance import assert_close

GROUP = 112
LINEAR = """
async ({ M, N_all, K_all, K, storage, group, arrays, options: { bias, into, ...options } }) => {
  const { ops } = opened;
  const put = (name, shape) => {
    const data = Uint8Array.from(atob(arrays[name]), (c) => c.charCodeAt(0));
    return ops.upload(data, shape ?? [data.length / 4], name);
  };
  const weight = { label: 'w', shape: [N_all, K_all], count: N_all * K_all, storage, group,
    scalesDtype: 'bf16', codes: put('codes'), scales: put('scales') };
  try {
    const y = ops.linear(put('x', [M, K]), weight, { ...options,
      ...(bias && { bias: put('bias', bias) }), ...(into && { into: put('before', into) }) });
    return [...new Float32Array(await ops.read(y))];
  } catch ({ name, message }) {
    return { name, message };
  } finally {
    ops.reset();
  }
}
"""
CHECK = "async (variants) => opened.findWrong(opened.ops, variants)"
M, N_ALL, K_ALL = 9, 9, 8 * GROUP
ACTS = ["none", "silu", "gelu_tanh", "quick_gelu", "relu"]
# Half words and whole ones, all activations, all epilogues, in each packed kernel but that for
# subgroups of 8, which SwiftShader has not.
CHECKED = [(name, constants) for name in (
    "linear_packed", "linear_packed_few", "linear_packed_tiled", "linear_packed_int8")
    for constants in (
    {"BITS": 1, "ZERO": 0.5, "GROUP": 112, "BIAS": 1, "ACT": 1, "EPILOGUE": 1},
    {"BITS": 2, "GROUP": 48, "ACT": 2, "EPILOGUE": 2},
    {"BITS": 4, "BIASED": 1, "GROUP": 160, "BIAS": 1, "ACT": 3, "EPILOGUE": 3})
] + [("linear_packed", {"GROUP": 3072}), ("linear_packed_int8", {"GROUP": 3072}),
     ("linear_packed_int8", {"BITS": 1, "ZERO": 0.5, "GROUP": 480})
] + [("linear_dense", {"BIAS": 1, "ACT": 4}), ("quantize_rows", {"GROUP": 112, "STRIDE": 4}),
     ("quantize_rows", {"GROUP": 48, "STRIDE": 2}), ("quantize_rows", {"GROUP": 96, "STRIDE": 8})]


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


def stored(data):
    return base64.b64encode(data.tobytes() + bytes(-data.nbytes % 4)).decode()


def run(page, k, bits, options, **change):
    """What a call comes to; its arrays, and the codes and scales of W."""
    codes = integers(1, 3 if bits == 2 else 2**bits, N_ALL, K_ALL)
    scales, meant = encode(normal(2, N_ALL, K_ALL // GROUP), BF16)
    arrays = {"codes": pack_codes(codes, bits), "scales": scales, "x": normal(3, M, k),
              "bias": normal(4, *options.get("bias", [1])),
              "before": normal(5, *options.get("into", [1]))}
    got = page.evaluate(LINEAR, {
        "M": M, "N_all": N_ALL, "K_all": K_ALL, "K": k, "group": GROUP, "options": options,
        "storage": {1: "binary", 2: "ternary"}[bits],
        "arrays": {name: stored(data) for name, data in arrays.items()}} | change)
    return got, arrays, codes, meant


@pytest.mark.parametrize("bits, act", [(1, "silu"), *((2, act) for act in ACTS)])
def test_bias_and_activation_of_a_part(engine, bits, act):
    """Rows n0 .. n0 + N have their own biases; what `add` adds to is not activated."""
    n0, n, k0, k = 2, 5, 2 * GROUP, 4 * GROUP
    got, arrays, codes, scales = run(engine, k, bits, {
        "rows": [n0, n], "columns": [k0, k], "bias": [N_ALL], "act": act, "add": True,
        "into": [M, n]})
    part = slice(n0, n0 + n)
    want = oracles.linear_packed(
        arrays["x"], codes[part, k0 : k0 + k], scales[part, k0 // GROUP : (k0 + k) // GROUP],
        {1: 0.5, 2: 1.0}[bits], epilogue=1, y=arrays["before"], bias=arrays["bias"][part],
        act=ACTS.index(act))
    assert_close("linear_packed", f"{bits}, {act}", np.float32(got).reshape(M, n), want)


@pytest.mark.parametrize("bits, options, change, words", [
    (2, {"bias": [8]}, {}, "bias is [8], expected [9]"),
    (2, {"act": "gelu"}, {}, "act is gelu, expected one of none, silu, gelu_tanh"),
    (2, {"columns": [0, 100]}, {}, "columns 0 + 100 of 896, expected multiples of 112"),
    (1, {"columns": [112, 224]}, {}, "columns 112 + 224 of 896, expected multiples of 224"),
    (2, {}, {"group": 56}, "groups of 56, expected a multiple of 16"),
    (2, {}, {"group": None}, "groups of null, expected a multiple of 16"),
])
def test_what_does_not_fit_is_refused(engine, bits, options, change, words):
    got, *_ = run(engine, options.get("columns", [0, K_ALL])[1], bits, options, **change)
    assert got["name"] == "ShapeError"
    assert "linear w" in got["message"] and words in got["message"]


def test_every_kernel_knows_its_answer(engine):
    assert engine.evaluate(CHECK, CHECKED) == ""


@pytest.mark.parametrize("right, wrong", [
    ("bias[dims.n0 + n]", "bias[n]"), ("r = activate(r)", "r = activate(1.01 * r)"),
    ("run % (WORD / RUN)", "run % 1u"),
])
def test_a_part_that_is_wrong_is_found_out(altered, right, wrong):
    part = next(name for name in ("packed", "epilogue")
                if right in assembly.text_of(f"parts/{name}"))
    page = altered(f"parts/{part}", right, wrong).page
    page.evaluate(OPEN)
    message = page.evaluate(CHECK, CHECKED[:1])
    assert "computes linear_packed " in message and "wrongly" in message


def test_a_part_that_does_not_compile_is_named_with_its_line(altered):
    lines = assembly.text_of("parts/epilogue").split("\n")
    [line] = [i + 1 for i, text in enumerate(lines) if "r = activate(r)" in text]
    library = altered("parts/epilogue", "r = activate(r)", "r = activated(r)")
    with pytest.raises(LibraryError) as refused:
        library.load(storage="memory")
    assert refused.value.name == "UnsupportedError"
    assert f"parts/epilogue.wgsl:{line}:" in refused.value.message
