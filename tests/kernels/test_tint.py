"""Every kernel compiles in Chromium's compiler too (the other tests run naga, Firefox's)."""

import pytest

from tests.kernels import gpu

LINEAR = [("linear_packed_tiled", {"ROWS": 64, "COLUMNS": 128}),
          ("linear_packed_few", {"LANES": 32}), ("linear_packed", {"BITS": 8, "BIASED": 1})]
ATTENTION = [("attention", {"DH": 4}), ("attention", {"DH": 128, "CAUSAL": 1}),
             ("attention", {"DH": 512}), ("attention_tiled", {"DH": 32, "QUERIES": 64}),
             ("attention_tiled", {"DH": 512, "QUERIES": 8})]
CONV = [("conv2d", {"KS": 1, "UP": 2, "ADD": 1}), ("conv2d_tiled", {"KS": 1, "UP": 2, "ADD": 1})]
CASES = [(name, {}) for name in gpu.NAMES] + LINEAR + ATTENTION + CONV
COMPILE = """async ([code, constants]) => {
  const module = window.device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const problems = messages.map((m) => `${m.lineNum}:${m.linePos} ${m.type}: ${m.message}`);
  const compute = { module, entryPoint: 'main', constants };
  await window.device.createComputePipelineAsync({ layout: 'auto', compute })
    .catch((error) => problems.push(error.message));
  return problems;
}"""


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


@pytest.mark.parametrize("name, constants", CASES, ids=str)
def test_compiles_without_a_message(page, name, constants):
    source = gpu.interface(name).source
    code = gpu.prelude(source, f16=False, directives=("subgroups",)) + source
    assert page.evaluate(COMPILE, [code, constants]) == []


@pytest.mark.parametrize("change, problem", [
    (("dims.count", "dims.counts"), "struct member counts not found"),
    (("@workgroup_size(256)", "@workgroup_size(512)"), "256"),
])
def test_a_broken_kernel_is_reported(page, change, problem):
    source = gpu.interface("silu").source.replace(*change)
    problems = page.evaluate(COMPILE, [source, {}])
    assert problem in "\n".join(problems)
