"""Every kernel, in every variant that may be chosen, compiles in Chromium's compiler and in naga.

The other tests of kernels run in naga, Firefox's.
"""

import pytest

from tests.kernels import assembly, gpu
from tests.web import node

PACKED = [{"BITS": bits, "GROUP": group, "FORMAT": 1} for bits in (1, 2, 4, 8)
          for group in (32, 112, 128)]
AFTER = [{"BIAS": 1, "ACT": act, "EPILOGUE": act % 4} for act in range(5)]
SITES = {  # op of web/engine/candidates.js: constants of its calls
    "linear_packed": PACKED + [PACKED[2] | {"BIASED": 1, "FORMAT": 2}],
    "linear_packed few": PACKED,
    "linear_dense": [{"FORMAT": number_format} for number_format in range(3)],
    "attention": [{"DH": 4}, {"DH": 32}, {"DH": 128, "CAUSAL": 1}, {"DH": 512}, {"DH": 112},
                  {"DH": 256, "CAUSAL": 1, "WINDOW": 4, "SOFTCAP": 50}, {"DH": 64, "BIAS": 1}],
    "conv2d": [{"KS": 3, "UP": 1, "FORMAT": 1}, {"KS": 1, "UP": 2, "ADD": 1, "FORMAT": 1}],
}
CANDIDATES = f"""async (sites) => {{
  const module = await import('{node.WEB}engine/candidates.js');""" + """
  const found = {};
  for (const [op, constants] of sites) {
    for (const software of [false, true]) {
      const device = { f16: true, subgroup: 8, dot: true, software };
      for (const { name, constants: own } of [module.referenceOf(op, constants),
        ...module.candidatesFor(op, constants, device, 'int8')]) {
        const all = { ...constants, ...own };
        found[`${name} ${JSON.stringify(all)}`] = [name, all];
      }
    }
  }
  return Object.values(found);
}"""
ATTENTION = [("attention_tiled", {"DH": 32, "QUERIES": 64})]  # the largest that fit
COMPILE = """async ([codes, pipelines]) => {
  const problems = [];
  await Promise.all(codes.map(async (code, i) => {
    const module = window.device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    for (const m of messages) problems.push([i, `${m.lineNum}:${m.linePos} ${m.message}`]);
    if (!pipelines.includes(i)) return;
    await window.device.createComputePipelineAsync(
      { layout: 'auto', compute: { module, entryPoint: 'main' } })
      .catch((error) => problems.push([i, error.message]));
  }));
  return problems;
}"""


@pytest.fixture(scope="module")
def variants():
    """[(kernel, constants)] of all that may be chosen, and those that no choice is made of."""
    sites = [(op, constants) for op, calls in SITES.items() for constants in calls]
    chosen = [tuple(variant) for variant in node.call(CANDIDATES, sites)]
    linears = {name: constants for name, constants in chosen if name.startswith("linear")}
    return ([(name, {}) for name in assembly.NAMES] + chosen + ATTENTION
            + [(name, linears[name] | after) for name in linears for after in AFTER])


@pytest.fixture(scope="module")
def page(browser):
    """A page with a WebGPU device of the default limits; WebGPU needs a secure context."""
    page = browser.new_page()
    page.route("https://kernels.test/", lambda route: route.fulfill(body=""))
    page.goto("https://kernels.test/")
    page.evaluate("""async () => {
      const adapter = await navigator.gpu.requestAdapter();
      if (!adapter) throw new Error('Chromium has no WebGPU adapter');
      window.device = await adapter.requestDevice({ requiredFeatures: ['subgroups'] });
    }""")
    return page


def test_compiles_in_chromium_without_a_message(page, variants):
    """But in f16, which its software adapter has not. A pipeline, which takes it a second, is made

    of each kernel's first variant.
    """
    plain = [(name, constants) for name, constants in variants if "F16" not in constants]
    codes = [assembly.assemble(assembly.interface(name), constants, directives=("subgroups",))
             for name, constants in plain]
    assert not [code for code in codes if "\noverride " in code]
    first = [[name for name, _ in plain].index(name) for name in assembly.NAMES]
    problems = page.evaluate(COMPILE, [codes, first])
    assert [(*plain[i], problem) for i, problem in problems] == []


def test_compiles_in_naga(variants):
    for name, constants in variants:
        gpu.pipeline(name, tuple(sorted(constants.items())))
    assert any("F16" in constants for _, constants in variants)


def test_what_a_kernel_cannot_take_is_no_candidate():
    """Codes of 8 bits; groups of any width are for all."""
    def names(op, **constants):
        found = node.call(CANDIDATES, [[op, {"FORMAT": 1, **constants}]])
        return {name for name, _ in found}

    every = {"linear_packed", "linear_packed_int8", "linear_packed_subgroup", "linear_packed_tiled"}
    for bits, group in [(1, 112), (2, 48), (4, 160), (2, 272), (1, 3072)]:
        assert names("linear_packed", BITS=bits, GROUP=group) == every
    assert names("linear_packed", BITS=8, GROUP=112) == {"linear_packed", "linear_packed_tiled"}
    assert names("linear_packed few", BITS=1, GROUP=112) == {"linear_packed", "linear_packed_few"}
    assert names("linear_packed few", BITS=8, GROUP=112) == {"linear_packed"}


@pytest.mark.parametrize("change, problem", [
    (("dims.count", "dims.counts"), "struct member counts not found"),
    (("@workgroup_size(256)", "@workgroup_size(512)"), "256"),
])
def test_a_broken_kernel_is_reported(page, change, problem):
    source = assembly.interface("silu").source.replace(*change)
    problems = page.evaluate(COMPILE, [[source], [0]])
    assert problem in "\n".join(text for _, text in problems)
