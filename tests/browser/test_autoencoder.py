"""Both halves of the autoencoder in strips: the same as in one piece, in no buffer larger than is
allowed."""

import base64
import json
import math

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline

from tests.browser.library import Library
from tests.closeness import psnr
from tests.reference import load_autoencoder

BINDING = 128 << 20  # what every device binds
CASES = {  # shape, rows and columns of tokens, bytes that may be bound
    "two rows a strip": ("shallow", 6, 8, 40_000),
    "a row a strip": ("shallow", 9, 5, 36_000),
    "ragged": ("shallow", 7, 7, 110_000),
    "tall": ("uneven", 5, 3, 70_000),
    "wide": ("uneven", 2, 9, 60_000),
    "four blocks": ("klein", 2, 3, 80_000),
}
FLUX2 = {"block_out_channels": (128, 256, 512, 512)}  # and diffusers' defaults
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
  const halves = await load('models/autoencoders/kl.js');
  const never = { check() {}, lost: new Promise(() => {}) };
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const shards = new Map();
  const compiled = new Map(); // of the device, and of a rehearsal
  const kernelsOf = (gpu) => {
    if (!compiled.has(gpu)) {
      const kernels = new Kernels(gpu, new URL('wgsl/', library.code), fetchText);
      compiled.set(gpu, kernels.load(KERNELS).then(() => kernels));
    }
    return compiled.get(gpu);
  };

  /**
   * Decodes latents or encodes pixels, or rehearses it without them.
   * half is 'decode' or 'encode', shape that of the input; model has the manifest's shards.
   */
  globalThis.passHalf = async ({ half, model, manifest, height, width, shape, input, limit }) => {
    const gpu = input ? device : null;
    const kernels = await kernelsOf(gpu);
    const allocator = new Allocator(gpu, limit);
    let largest = 0;
    const { allocateNew } = allocator;
    allocator.allocateNew = (bytes, label) => {
      largest = Math.max(largest, bytes);
      return allocateNew.call(allocator, bytes, label);
    };
    const read = async (index, offset, bytes) => {
      if (!gpu) return new Uint8Array(bytes);
      const file = new URL(`${model}/model/${manifest.shards[index].file}`, url).href;
      if (!shards.has(file)) shards.set(file, (await fetch(file)).arrayBuffer());
      return new Uint8Array(await shards.get(file), offset, bytes);
    };
    const files = new TensorFiles(manifest, { read });
    const g = new Ops({ device: gpu, kernels, allocator, watch: never });
    const norm = await files.latentNorm();
    const values = input && new Float32Array(Uint8Array.fromBase64(input).buffer);
    const given = gpu ? g.upload(values, shape, 'input') : g.empty(shape, 'input');
    const weights = await new Weights(g, files, 'autoencoder').load();
    const { config } = manifest.components.autoencoder;
    const made = await halves[half](g, weights, config, given, { height, width, norm });
    const data = new Uint8Array(await g.read(made));
    const { peakBytes } = allocator;
    weights.free();
    g.reset();
    return { peakBytes, largest, leaked: allocator.liveBytes, shape: made.shape,
      data: gpu ? data.toBase64() : '' };
  };
}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of sites, named by their shapes, that one page reads."""
    return tmp_path_factory.mktemp("autoencoders")


@pytest.fixture(scope="module")
def model(made, site, root):
    """model(shape) -> (checkpoint, manifest); its site is in the root."""
    def make(shape):
        folder = made(shape)
        dist = site(folder, with_image_input=True)
        if not (root / shape).exists():
            (root / shape).symlink_to(dist)
        manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
        return folder, manifest

    return make


@pytest.fixture(scope="module")
def page(model, root, server, browser):
    """A Library of the first shape's site, whose kernels are compiled once for all shapes."""
    model("shallow")
    url = server(root)
    with Library(browser, f"{url}shallow/") as library:
        library.page.evaluate(SETUP, url)
        yield library


@pytest.fixture(scope="module")
def passed(page):
    """passed(half, model, input, limit, ...) -> the outcome; `made`, f32, is its result.

    input is an array, or for a rehearsal only its shape; height and width are in tokens."""
    def run(half, model, manifest, height, width, input, limit):
        real = isinstance(input, np.ndarray)
        call = {"half": half, "model": model, "manifest": manifest, "height": height,
                "width": width, "limit": limit, "shape": input.shape if real else input,
                "input": base64.b64encode(input.tobytes()).decode() if real else None}
        outcome = page.page.evaluate("(call) => passHalf(call)", call)
        if real:
            data = np.frombuffer(base64.b64decode(outcome["data"]), "<f4")
            outcome["made"] = data.reshape(outcome["shape"])
        assert outcome["leaked"] == 0
        assert not page.complaints
        return outcome

    return run


@pytest.mark.parametrize("half", ["decode", "encode"])
@pytest.mark.parametrize("case", CASES)
def test_strips_make_the_same(case, half, model, passed):
    shape, height, width, limit = CASES[case]
    folder, manifest = model(shape)
    autoencoder = load_autoencoder(folder / "vae")
    patch = manifest["latents"]["pixels"]
    tokens = (height * width, 4 * autoencoder.config.latent_channels)
    pixels = (patch * height, patch * width, 3)
    given = np.random.default_rng(1).standard_normal(tokens if half == "decode" else pixels,
                                                     np.float32)
    call = {"manifest": manifest, "height": height, "width": width}

    whole = passed(half, shape, input=given, limit=BINDING, **call)
    strips = passed(half, shape, input=given, limit=limit, **call)
    assert strips["largest"] <= limit < whole["largest"]
    assert psnr(strips["made"], whole["made"], span=2) >= 120
    want = (decoded(autoencoder, given, height, width) if half == "decode"
            else encoded(autoencoder, given))
    assert psnr(strips["made"], want, span=2) >= 90
    planned = passed(half, shape, input=given.shape, limit=limit, **call)
    assert planned["peakBytes"] == strips["peakBytes"]
    assert planned["largest"] == strips["largest"]


@pytest.mark.parametrize(("half", "width", "height", "most"), [
    ("decode", 512, 512, 0.6e9), ("decode", 768, 768, 1.0e9), ("decode", 1024, 1024, 1.5e9),
    ("decode", 1408, 704, 1.5e9), ("decode", 2032, 2032, 5e9), ("decode", 2048, 2048, 5e9),
    ("encode", 512, 512, 0.6e9), ("encode", 1024, 1024, 1.5e9), ("encode", 2896, 352, 1.5e9),
])
def test_memory_at_the_size_of_flux2(half, width, height, most, passed):
    tokens, pixels = [height * width // 256, 128], [height, width, 3]
    given, made = (tokens, pixels) if half == "decode" else (pixels, tokens)
    planned = passed(half, None, manifest=flux2_manifest(half), height=height // 16,
                     width=width // 16, input=given, limit=BINDING)
    print(f"{half} {width} x {height}: {planned['peakBytes']:,}")
    assert planned["shape"] == made
    assert planned["largest"] <= BINDING
    assert planned["peakBytes"] <= most


def flux2_manifest(half):
    """What the exporter writes of one half of FLUX.2's autoencoder, without shards."""
    stages = len(FLUX2["block_out_channels"])
    with torch.device("meta"):
        autoencoder = AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * stages,
            up_block_types=("UpDecoderBlock2D",) * stages, **FLUX2,
        )
    kept = {"decode": ("decoder.", "post_quant_conv.", "bn.running"),
            "encode": ("encoder.", "quant_conv.", "bn.running")}[half]
    tensors = {}
    for name, tensor in autoencoder.state_dict().items():
        if not name.startswith(kept):
            continue
        shape = list(tensor.shape)
        shape = [shape[0], *shape[2:], shape[1]] if len(shape) == 4 else shape
        tensors[f"autoencoder.{name}"] = {
            "shape": shape, "storage": "bf16", "data": [[0, 0, 2 * math.prod(shape)]],
        } | ({"use": "vector"} if len(shape) == 1 else {})
    config = dict(autoencoder.config) | {"mid_block_add_attention": True}
    config["encoder"] = {key: config[key] for key in ("block_out_channels", "use_quant_conv")}
    statistics = [f"autoencoder.bn.running_{kind}" for kind in ("mean", "var")]
    latents = {"channels": 128, "pixels": 16, "statistics": statistics,
               "eps": config["batch_norm_eps"]}
    return {"tensors": tensors, "components": {"autoencoder": {"config": config}},
            "latents": latents}


@torch.no_grad()
def decoded(autoencoder, tokens, height, width):
    """diffusers' picture f32 [H, W, 3] of tokens [height * width, 4C]."""
    norm = autoencoder.bn
    deviation = torch.sqrt(norm.running_var + autoencoder.config.batch_norm_eps)
    z = torch.from_numpy(tokens) * deviation + norm.running_mean
    z = z.reshape(height, width, -1, 2, 2).permute(2, 0, 3, 1, 4)
    z = z.reshape(1, -1, 2 * height, 2 * width)
    return autoencoder.decode(z).sample[0].permute(1, 2, 0).numpy()


@torch.no_grad()
def encoded(autoencoder, pixels):
    """diffusers' normalised tokens [h * w, 4C] of pixels f32 [H, W, 3]."""
    norm = autoencoder.bn
    deviation = torch.sqrt(norm.running_var + autoencoder.config.batch_norm_eps)
    z = autoencoder.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None]).latent_dist.mode()
    z = Flux2KleinPipeline._patchify_latents(z)[0].flatten(1).T
    return ((z - norm.running_mean) / deviation).numpy()
