"""AutoencoderDC's decoder: the picture that diffusers' makes, whole and in strips."""

import base64
import math

import numpy as np
import pytest

from export.autoencoders import dc
from export.packing.pack import pack_tensors
from export.source.configuration import Configuration
from tests.browser.library import Library
from tests.browser.opened_engine import OPEN
from tests.closeness import psnr, relative_error
from tests.dc_autoencoders import RES, VIT, diffusers_picture, make_autoencoder

BINDING = 128 << 20  # what every device binds
CASES = {  # configuration, rows and columns of latents, bytes that may be bound
    "deep, a few rows a strip": ("deep", 5, 4, 80_000),
    "deep, no more pixels than a head is wide": ("deep", 2, 3, 80_000),
    "shallow, an odd number of rows a strip": ("shallow", 9, 16, 170_000),
}
SANA = {  # of dc-ae-f32c32-sana-1.0 and 1.1, beside diffusers' defaults
    "decoder_block_types": (RES, RES, RES, VIT, VIT, VIT), "upsample_block_type": "interpolate",
    "scaling_factor": 0.41407,
}
SETUP = """
async (url) => {
  const load = (path) => import(new URL(path, library.code));
  const { Allocator } = await load('engine/memory.js');
  const { Kernels } = await load('engine/kernels.js');
  const { KERNELS } = await load('engine/selfcheck.js');
  const { Ops } = await load('engine/ops.js');
  const { Weights } = await load('engine/weights.js');
  const { fetchText } = await load('loader/fetching.js');
  const { TensorFiles } = await load('loader/tensors.js');
  const { decode, LAYERS } = await load('models/autoencoders/dc.js');
  const never = { check() {}, lost: new Promise(() => {}) };
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const compiled = new Map(); // of the device, and of a rehearsal
  const kernelsOf = (gpu) => {
    if (!compiled.has(gpu)) {
      const kernels = new Kernels(gpu, new URL('wgsl/', library.code), fetchText);
      compiled.set(gpu, kernels.load(KERNELS).then(() => kernels));
    }
    return compiled.get(gpu);
  };
  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  /** Decodes latents, or rehearses it without them. */
  globalThis.decodeLatents = async (call) => {
    const { manifest, payload, height, width, latents, limit, streamed } = call;
    const gpu = latents ? device : null;
    const kernels = await kernelsOf(gpu);
    const allocator = new Allocator(gpu, limit);
    let largest = 0;
    const { allocateNew } = allocator;
    allocator.allocateNew = (bytes, label) => {
      largest = Math.max(largest, bytes);
      return allocateNew.call(allocator, bytes, label);
    };
    const shard = payload && bytesOf(payload);
    const read = async (index, offset, bytes) => (
      gpu ? shard.subarray(offset, offset + bytes) : new Uint8Array(bytes));
    const files = new TensorFiles(manifest, { read });
    const g = new Ops({ device: gpu, kernels, allocator, watch: never });
    const norm = await files.latentNorm();
    const shape = [height * width, norm.scale.length];
    const given = gpu ? g.upload(new Float32Array(bytesOf(latents).buffer), shape, 'latents')
      : g.empty(shape, 'latents');
    const weights = await new Weights(g, files, 'autoencoder')
      .load({ streamed: streamed ? LAYERS : [] });
    const weightBytes = allocator.liveBytes;
    const { config } = manifest.components.autoencoder;
    const made = await decode(g, weights, config, given, { height, width, norm });
    const data = new Uint8Array(await g.read(made));
    const { peakBytes } = allocator;
    weights.free();
    g.reset();
    return { peakBytes, weightBytes, largest, leaked: allocator.liveBytes, shape: made.shape,
      data: gpu ? data.toBase64() : '' };
  };
}
"""


FIND_WRONG = "async (variants) => opened.findWrong(opened.ops, variants)"
CHECKED = {  # kernel: variants, what it says, and what it must not say
    "linear_grouped": ([{}], "quad / depth * depth", "quad"),
    "place_channels": ([{}], "dims.c0 + i", "i"),
    "pixel_shuffle": ([{"REPEAT": 2}, {"UP": 1, "REPEAT": 4, "ADD": 1}],
                      "row % UP * UP", "row % UP"),
    "relu": ([{}], "max(x[i], 0.0)", "abs(x[i])"),
    "rms_norm_pixels": ([{}, {"ACT": 1}, {"ACT": 4, "ADD": 1}], "w[c] + b[c]", "w[c] + 2.0 * b[c]"),
}
REFUSED = [  # an op, its inputs' shapes and options, and what it says
    ("pixelShuffle", [[3, 4, 6]], {"up": 2, "first": 0, "count": 1}, [2, 8, 4],
     "6 channels do not fill 4 of 2 x 2 pixels"),
    ("pixelShuffle", [[3, 4, 8]], {"up": 2, "first": 0, "count": 1}, [2, 7, 2], "expected [2,8,2]"),
    ("linearGrouped", [[3, 4, 8], [8, 6]], {}, [3, 4, 8], "groups of 8 channels"),
    ("placeChannels", [[3, 4, 8]], {"channel": 9}, [3, 4, 16], "8 channels from 9 on"),
]
REFUSE = """
([op, shapes, options, into]) => {
  const { ops } = opened;
  try {
    const tensors = shapes.map((shape) => ops.empty(shape, 'given'));
    ops[op](...tensors, { ...options, into: ops.empty(into, 'result') });
    return null;
  } catch ({ name, message }) {
    return { name, message };
  } finally {
    ops.reset();
  }
}
"""

BY_ROWS = """
async (cost) => {
  const { ops } = opened;
  if (cost) Object.defineProperty(ops, 'dispatchCost', { value: cost, configurable: true });
  let dispatches = 0;
  ops.dispatch = (...call) => {
    dispatches += 1;
    return Object.getPrototypeOf(ops).dispatch.apply(ops, call);
  };
  try {
    const wave = (count) => Float32Array.from({ length: count }, (_, i) => Math.sin(i));
    const into = ops.upload(new Float32Array(4 * 5 * 8), [4, 5, 8], 'result');
    ops.linearGrouped(ops.upload(wave(3 * 5 * 8), [3, 5, 8], 'x'),
      ops.upload(wave(8 * 4), [8, 4], 'weight'), { into, at: 1 });
    return { dispatches, got: [...new Float32Array(await ops.read(into))] };
  } finally {
    ops.reset();
    delete ops.dispatchCost;
    delete ops.dispatch;
  }
}
"""


class Payload:
    """Tensors' bytes, one after another, as a shard has them."""

    def __init__(self):
        self.bytes = b""

    def write(self, data):
        self.bytes += bytes(-len(self.bytes) % 256)
        at, data = len(self.bytes), np.ascontiguousarray(data).tobytes()
        self.bytes += data
        return [[0, at, len(data)]]


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """autoencoder(name) -> (diffusers' module, manifest, payload), each made once."""
    known = {}

    def make(name):
        if name not in known:
            known[name] = packed(name, tmp_path_factory.mktemp(name))
        return known[name]

    return make


def packed(name, folder):
    module, component = make_autoencoder(name, folder)
    payload = Payload()
    entries = pack_tensors(component, component.specs, payload, lambda component: None)
    manifest = manifest_of(component.config, entries)
    return module, manifest, base64.b64encode(payload.bytes).decode()


def manifest_of(config, tensors):
    latents = {"channels": config.latent_channels, "pixels": config.scale_factor,
               "scale": 1 / config.scaling_factor, "shift": 0}
    return {"tensors": tensors, "latents": latents,
            "components": {"autoencoder": {"config": config.manifest()}}}


@pytest.fixture(scope="module")
def page(browser, url):
    with Library(browser, url) as library:
        library.page.evaluate(SETUP, url)
        library.page.evaluate(OPEN)
        yield library.page
        assert library.complaints == []


def decoded(page, manifest, payload, height, width, latents=None, limit=BINDING, streamed=False):
    """The outcome, `made` f32 [H, W, 3]; without latents that of a rehearsal.

    streamed: the weights come stage by stage.
    """
    real = latents is not None
    call = {"manifest": manifest, "payload": payload, "height": height, "width": width,
            "limit": limit, "streamed": streamed,
            "latents": base64.b64encode(latents.tobytes()).decode() if real else None}
    outcome = page.evaluate("(call) => decodeLatents(call)", call)
    if real:
        data = np.frombuffer(base64.b64decode(outcome["data"]), "<f4")
        outcome["made"] = data.reshape(outcome["shape"])
    assert outcome["leaked"] == 0
    return outcome


@pytest.mark.parametrize("case", CASES)
def test_the_picture_is_diffusers_whole_and_in_strips(case, autoencoder, page):
    name, height, width, limit = CASES[case]
    module, manifest, payload = autoencoder(name)
    shape = height * width, module.config.latent_channels
    latents = np.random.default_rng(1).standard_normal(shape, np.float32)
    z = latents.reshape(height, width, -1) / np.float32(module.config.scaling_factor)
    want = diffusers_picture(module, z)

    whole = decoded(page, manifest, payload, height, width, latents)
    assert psnr(whole["made"], want, span=2) >= 90
    assert relative_error(whole["made"], want) <= 1e-5
    strips = decoded(page, manifest, payload, height, width, latents, limit, streamed=True)
    assert strips["largest"] <= limit
    assert strips["weightBytes"] < whole["weightBytes"] / 2
    assert psnr(strips["made"], whole["made"], span=2) >= 120
    planned = decoded(page, manifest, None, height, width, limit=limit, streamed=True)
    assert planned["peakBytes"] == strips["peakBytes"]


@pytest.mark.parametrize(("width", "height", "most"), [
    (512, 512, 0.75e9), (1024, 1024, 1.1e9), (1408, 704, 1.1e9), (800, 1248, 1.1e9),
    (2048, 2048, 3e9),
])
def test_memory_at_the_size_of_sana(width, height, most, page):
    """As the page counts it, in no larger buffers than every device binds; and as export/ does."""
    config = read(SANA)
    entries = {f"autoencoder.{name}": {"shape": list(spec.shape), "storage": "f16", "data":
               [[0, 0, 2 * math.prod(spec.shape)]]}
               | ({"use": "vector"} if spec.role == "vector" else {})
               for name, spec in dc.spec(config).items()}
    for entry in entries.values():
        if len(entry["shape"]) == 4 and "use" not in entry:
            cout, cin, kh, kw = entry["shape"]
            entry["shape"] = [kh, kw, cout] if cin == 1 else [cout, kh, kw, cin]
    planned = decoded(page, manifest_of(config, entries), None, height // 32, width // 32)
    assert planned["shape"] == [height, width, 3]
    assert planned["largest"] <= BINDING
    assert planned["peakBytes"] <= most
    counted = planned["peakBytes"] - planned["weightBytes"]
    estimate = dc.decoding_bytes(config, width, height)
    print(f"{width} x {height}: {planned['peakBytes']:,}, {counted:,} against {estimate:,}")
    assert abs(estimate / counted - 1) <= 0.1


def read(values):
    known = {key: list(value) if isinstance(value, tuple) else value
             for key, value in values.items()}
    return dc.read_config(Configuration("config.json", known))


@pytest.mark.parametrize(("op", "shapes", "options", "into", "words"), REFUSED)
def test_what_does_not_fit_is_refused(op, shapes, options, into, words, page):
    refused = page.evaluate(REFUSE, [op, shapes, options, into])
    assert refused["name"] == "ShapeError" and words in refused["message"]


def test_a_long_grouped_convolution_goes_by_rows(page):
    at_once, by_rows = (page.evaluate(BY_ROWS, cost) for cost in (None, 1))
    assert (at_once["dispatches"], by_rows["dispatches"]) == (1, 3)
    assert at_once["got"] == by_rows["got"] and any(at_once["got"][-8:])


def test_every_kernel_knows_its_answer(page):
    checked = [(name, constants) for name, (all_of_it, *_) in CHECKED.items()
               for constants in all_of_it]
    assert page.evaluate(FIND_WRONG, checked) == ""


def test_those_that_are_wrong_are_found_out(browser, url):
    def alter(route):
        name = route.request.url.split("/")[-1].removesuffix(".wgsl")
        text = route.fetch().text()
        _, right, wrong = CHECKED.get(name, ([], "", ""))
        assert right in text
        route.fulfill(body=text.replace(right, wrong) if right else text,
                      content_type="text/wgsl")

    with Library(browser, url) as library:
        library.page.route("**/wgsl/*.wgsl", alter)
        library.page.evaluate(OPEN)
        for name, ([constants, *_], *_) in CHECKED.items():
            message = library.page.evaluate(FIND_WRONG, [(name, constants)])
            assert f"computes {name} " in message and "wrongly" in message
