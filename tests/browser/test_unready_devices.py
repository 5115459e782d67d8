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
  globalThis.heal = () => { GPUDevice.prototype.createComputePipelineAsync = create; };
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
# From its load, of which the progress is told, to what it answers when it is destroyed.
LIFE = """
async ([url, request, engine, hang]) => {
  const progress = [];
  const pipe = await library.trefoil.loadPipeline(new URL('model/manifest.json', url),
    { storage: 'memory', engine, onProgress: (event) => progress.push(event) });
  const name = (work) => work.then(() => 'done', (error) => error.name);
  const outcomes = {};
  if (hang) {
    (CALL)(hang);
    const abort = new AbortController();
    const drawing = name(pipe.generate(request, { signal: abort.signal }));
    while (!globalThis.called) await new Promise((resolve) => setTimeout(resolve, 10));
    abort.abort();
    outcomes.hanging = await drawing;
    heal();
  }
  const onProgress = ({ stage }) => { if (stage === 'denoise') pipe.destroy(); };
  outcomes.drawing = await name(pipe.generate(request, { onProgress }));
  pipe.destroy();
  outcomes.generate = await name(pipe.generate(request));
  outcomes.plan = await name(pipe.plan(request));
  outcomes.extraBytes = await name(pipe.extraBytes(request));
  return { outcomes, progress };
}
""".replace("CALL", faults.CALL)
AFTER_DESTROY = {"drawing": "AbortError", "generate": "InputError", "plan": "InputError",
                 "extraBytes": "InputError"}


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


@pytest.fixture(scope="module")
def onnx_url(made, site, server):
    return server(site(made("shallow"), onnx=True))


@pytest.fixture(scope="module")
def library(browser, url):
    with Library(browser, url) as library:
        yield library


@pytest.fixture
def broken(library):
    """broken(script, argument) -> the library's page, in which what the script breaks is whole
    again when the test is over or breaks something else."""
    def heal():
        library.page.evaluate("() => globalThis.heal?.()")

    def do(script, argument=None):
        heal()
        library.page.evaluate(script, argument)
        return library

    yield do
    heal()


@pytest.mark.parametrize("fault", CALLS)
def test_every_refusal_is_a_sentence(broken, fault):
    call, sentence = CALLS[fault]
    with pytest.raises(LibraryError, match="(?s)" + sentence) as refused:
        broken(faults.CALL, call).load(storage="memory")
    assert refused.value.name in ("UnsupportedError", "DeviceError")
    assert refused.value.message.endswith(".")


def test_inspecting_tells_a_device_that_does_not_answer_from_one_that_refuses(library, broken):
    def ask():
        return library.page.evaluate(
            f"() => library.trefoil.inspectDevice({{ patienceMs: {LAST_RESORT_MS} }})")

    found = ask()
    assert found["ok"] and not found["silent"] and found["prefer"] == "onnxruntime"
    broken(faults.CALL, ["GPU", "requestAdapter", "reject"])
    refused = ask()
    assert not refused["ok"] and not refused["silent"] and "refused" in refused["reason"]
    broken(faults.CALL, ["GPU", "requestAdapter", "silent"])
    silent = ask()
    assert not silent["ok"] and silent["silent"]
    assert silent["reason"] == "This device's graphics do not answer." and silent["remedy"]


def test_a_loss_during_the_check_is_told_as_one(broken):
    with pytest.raises(LibraryError) as lost:
        broken(LOST).load(storage="memory")
    assert lost.value.name == "DeviceError"


@pytest.mark.parametrize("call", [
    ["GPU", "requestAdapter", "silent"], ["GPUAdapter", "requestDevice", "silent"],
    ["GPUDevice", "createComputePipelineAsync", "silent"],
    ["GPUQueue", "onSubmittedWorkDone", "silent"], ["GPUBuffer", "mapAsync", "silent"],
], ids=lambda call: call[1])
def test_an_abort_ends_every_wait_at_once(broken, url, call):
    ended = broken(faults.CALL, call).page.evaluate(ABORT_WHEN_CALLED, url)
    assert ended["outcome"] == "AbortError"
    if "Pipeline" in call[1]:
        phase, done, of = ended["seen"][-1]
        assert phase == "prepare" and done == 0 and of > 10


# ---- pipelines that are loaded ------------------------------------------------------------------

@pytest.fixture(scope="module")
def life(browser, url):
    with Library(browser, url) as library:
        life = library.page.evaluate(
            LIFE, [url, REQUEST, "webgpu", ["GPUBuffer", "mapAsync", "silent"]])
        assert library.complaints == []
    return life


def test_progress_counts_the_kernels(life):
    seen = [event for event in life["progress"] if event["phase"] == "prepare"]
    counts = [event["kernel"] for event in seen]
    assert counts == sorted(counts) and counts[0] == 0
    assert counts[-1] == seen[-1]["kernels"] > 10
    assert all(event["kernel"] <= event["kernels"] for event in seen)


def test_a_drawing_on_a_device_that_hangs_can_be_cancelled_and_the_pipeline_destroyed(life):
    """Between the two it draws."""
    assert life["outcomes"] == {"hanging": "AbortError"} | AFTER_DESTROY


# ---- with graphs --------------------------------------------------------------------------------

def test_a_destroyed_pipeline_that_draws_from_graphs_aborts_and_refuses_too(browser, onnx_url):
    with Library(browser, onnx_url) as library:
        life = library.page.evaluate(LIFE, [onnx_url, SMALL, "onnxruntime", None])
    assert life["outcomes"] == AFTER_DESTROY


def test_with_graphs_the_processor_draws_where_no_gpu_does_so_rightly(browser, onnx_url):
    with Library(browser, onnx_url) as library:
        def engine(**options):
            return library.load(storage="memory", **options)["engine"]

        assert engine() == "onnxruntime", "preferred to a software adapter"
        want = library.generate(**SMALL)["rgba"]
        assert engine(engine="webgpu") == "webgpu", "which draws if it is asked to"
        library.page.evaluate(faults.AS_A_GPU)
        assert engine() == "webgpu", "preferred is a GPU"
        library.page.evaluate(faults.TWINS, ["rms_norm", "1.0 / sqrt(", "1.01 / sqrt("])
        library.page.evaluate("() => { globalThis.faulty = true; }")
        assert engine() == "onnxruntime", "a kernel is wrong"
        library.page.evaluate("() => { globalThis.faulty = false; }")
        for fault in ("adapter-rejects", "device-silent", "pipeline-rejects", "map-rejects"):
            library.page.evaluate(faults.CALL, CALLS[fault][0])
            assert engine() == "onnxruntime", fault
            assert (library.generate(**SMALL)["rgba"] == want).all(), fault
            library.page.evaluate("() => heal()")
