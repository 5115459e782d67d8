"""Devices that refuse, do not answer or are lost at the check; and waits that end."""

from pathlib import Path

import pytest

from tests.browser import faults
from tests.browser.library import Library, LibraryError
from tests.conftest import LAST_RESORT_MS

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
REQUEST = {"prompt": "an old pine in the snow", "seed": 5, "width": 48, "height": 48, "steps": 2}
SMALL = {"prompt": "a pine", "seed": 7, "width": 64, "height": 64, "steps": 1}
CALLS = {
    "adapter-throws": (["GPU", "requestAdapter", "throw"], "requestAdapter is broken"),
    "adapter-rejects": (["GPU", "requestAdapter", "reject"], "requestAdapter refused"),
    "adapter-silent": (["GPU", "requestAdapter", "silent"], "graphics do not answer"),
    "device-throws": (["GPUAdapter", "requestDevice", "throw"], "requestDevice is broken"),
    "device-rejects": (["GPUAdapter", "requestDevice", "reject"], "requestDevice refused"),
    "device-silent": (["GPUAdapter", "requestDevice", "silent"], "graphics do not answer"),
    "module-throws": (["GPUDevice", "createShaderModule", "throw"],
                      "does not compile the kernel .*createShaderModule is broken"),
    "pipeline-throws": (["GPUDevice", "createComputePipelineAsync", "throw"],
                        "does not compile the kernel .*createComputePipelineAsync is broken"),
    "pipeline-rejects": (["GPUDevice", "createComputePipelineAsync", "reject"],
                         "does not compile the kernel .*createComputePipelineAsync refused"),
    "map-rejects": (["GPUBuffer", "mapAsync", "reject"], "The GPU stopped: mapAsync refused"),
}
LOST = """
() => {
  const create = GPUDevice.prototype.createComputePipelineAsync;
  GPUDevice.prototype.createComputePipelineAsync = function (descriptor) {
    this.destroy();
    return create.call(this, descriptor);
  };
}
"""
ABORT_WHEN_CALLED = """
async (url) => {
  const abort = new AbortController();
  const seen = [];
  const loading = library.trefoil.loadPipeline(new URL('model/manifest.json', url),
    { signal: abort.signal, storage: 'memory', patienceMs: Infinity,
      onProgress: ({ phase, kernel, kernels }) => seen.push([phase, kernel, kernels]) })
    .then(() => 'loaded', (error) => error.name);
  while (!globalThis.called) await new Promise((resolve) => setTimeout(resolve, 10));
  abort.abort();
  return { outcome: await loading, seen };
}
"""
DESTROYED = """
async ([url, request, engine]) => {
  const pipe = await library.trefoil.loadPipeline(new URL('model/manifest.json', url),
    { storage: 'memory', engine });
  const name = (work) => work.then(() => 'done', (error) => error.name);
  const outcomes = {};
  const onProgress = ({ stage }) => { if (stage === 'denoise') pipe.destroy(); };
  outcomes.drawing = await name(pipe.generate(request, { onProgress }));
  pipe.destroy();
  outcomes.generate = await name(pipe.generate(request));
  outcomes.plan = await name(pipe.plan(request));
  outcomes.extraBytes = await name(pipe.extraBytes(request));
  return outcomes;
}
"""
AFTER_DESTROY = {"drawing": "AbortError", "generate": "InputError", "plan": "InputError",
                 "extraBytes": "InputError"}


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


@pytest.fixture(scope="module")
def onnx_url(site, server):
    return server(site(GARDEN, onnx=True))


@pytest.mark.parametrize("fault", CALLS)
def test_every_refusal_is_a_sentence(browser, url, fault):
    call, sentence = CALLS[fault]
    with Library(browser, url) as library:
        library.page.evaluate(faults.CALL, call)
        with pytest.raises(LibraryError, match="(?s)" + sentence) as refused:
            library.load(storage="memory")
    assert refused.value.name in ("UnsupportedError", "DeviceError")
    assert refused.value.message.endswith(".")


def test_inspecting_tells_a_device_that_does_not_answer_from_one_that_refuses(browser, url):
    ask = f"() => library.trefoil.inspectDevice({{ patienceMs: {LAST_RESORT_MS} }})"
    with Library(browser, url) as library:
        found = library.page.evaluate(ask)
        assert found["ok"] and not found["silent"] and found["prefer"] == "onnxruntime"
        library.page.evaluate(faults.CALL, ["GPU", "requestAdapter", "reject"])
        refused = library.page.evaluate(ask)
        library.page.evaluate(faults.CALL, ["GPU", "requestAdapter", "silent"])
        silent = library.page.evaluate(ask)
    assert not refused["ok"] and not refused["silent"] and "refused" in refused["reason"]
    assert not silent["ok"] and silent["silent"]
    assert silent["reason"] == "This device's graphics do not answer." and silent["remedy"]


def test_a_loss_during_the_check_is_told_as_one(browser, url):
    with Library(browser, url) as library:
        library.page.evaluate(LOST)
        with pytest.raises(LibraryError) as lost:
            library.load(storage="memory")
    assert lost.value.name == "DeviceError"


@pytest.mark.parametrize("call", [
    ["GPU", "requestAdapter", "silent"], ["GPUAdapter", "requestDevice", "silent"],
    ["GPUDevice", "createComputePipelineAsync", "silent"],
    ["GPUQueue", "onSubmittedWorkDone", "silent"], ["GPUBuffer", "mapAsync", "silent"],
], ids=lambda call: call[1])
def test_an_abort_ends_every_wait_at_once(browser, url, call):
    with Library(browser, url) as library:
        library.page.evaluate(faults.CALL, call)
        ended = library.page.evaluate(ABORT_WHEN_CALLED, url)
    assert ended["outcome"] == "AbortError"
    if "Pipeline" in call[1]:
        phase, done, of = ended["seen"][-1]
        assert phase == "prepare" and done == 0 and of > 10


def test_a_drawing_on_a_device_that_hangs_can_be_cancelled(browser, url):
    hang = ["GPUBuffer", "mapAsync", "silent"]
    with Library(browser, url) as library:
        outcome = library.page.evaluate(f"""async ([url, hang, request]) => {{
          const pipe = await library.trefoil.loadPipeline(new URL('model/manifest.json', url),
            {{ storage: 'memory' }});
          ({faults.CALL})(hang);
          const abort = new AbortController();
          const drawing = pipe.generate(request, {{ signal: abort.signal }})
            .then(() => 'drawn', (error) => error.name);
          while (!globalThis.called) await new Promise((resolve) => setTimeout(resolve, 10));
          abort.abort();
          return drawing;
        }}""", [url, hang, REQUEST])
    assert outcome == "AbortError"


def test_progress_counts_the_kernels(browser, url):
    with Library(browser, url) as library:
        seen = library.page.evaluate("""async (url) => {
          const seen = [];
          const pipe = await library.trefoil.loadPipeline(new URL('model/manifest.json', url),
            { storage: 'memory', onProgress: (progress) => seen.push(progress) });
          pipe.destroy();
          return seen.filter(({ phase }) => phase === 'prepare');
        }""", url)
    counts = [event["kernel"] for event in seen]
    assert counts == sorted(counts) and counts[0] == 0
    assert counts[-1] == seen[-1]["kernels"] > 10
    assert all(event["kernel"] <= event["kernels"] for event in seen)


def test_a_destroyed_pipeline_aborts_and_refuses(browser, url):
    with Library(browser, url) as library:
        outcomes = library.page.evaluate(DESTROYED, [url, REQUEST, "webgpu"])
        assert library.complaints == []
    assert outcomes == AFTER_DESTROY


def test_so_does_one_that_draws_from_graphs(browser, onnx_url):
    with Library(browser, onnx_url) as library:
        outcomes = library.page.evaluate(DESTROYED, [onnx_url, SMALL, "onnxruntime"])
    assert outcomes == AFTER_DESTROY


def draws_from_graphs(library, **options):
    assert library.load(storage="memory", **options)["engine"] == "onnxruntime"
    library.generate(**SMALL)


@pytest.mark.parametrize("fault", ["adapter-rejects", "device-silent", "pipeline-rejects",
                                   "map-rejects"])
def test_with_graphs_the_processor_draws_whatever_the_device_does(browser, onnx_url, fault):
    with Library(browser, onnx_url) as library:
        library.page.evaluate(faults.AS_A_GPU)
        library.page.evaluate(faults.CALL, CALLS[fault][0])
        draws_from_graphs(library)


def test_with_graphs_the_processor_draws_where_a_kernel_is_wrong(browser, onnx_url):
    with Library(browser, onnx_url) as library:
        library.page.evaluate(faults.AS_A_GPU)
        faults.alter(library.page, "**/rms_norm.wgsl", "1.0 / sqrt(", "1.01 / sqrt(")
        draws_from_graphs(library)


def test_with_graphs_the_processor_is_preferred_to_a_software_adapter_alone(browser, onnx_url):
    with Library(browser, onnx_url) as library:
        draws_from_graphs(library)
        assert library.load(storage="memory", engine="webgpu")["engine"] == "webgpu"
        library.page.evaluate(faults.AS_A_GPU)
        assert library.load(storage="memory")["engine"] == "webgpu"
