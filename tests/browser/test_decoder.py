"""The decoder in strips: the same picture as in one piece, in no buffer larger than is allowed."""

import base64
import json
import math

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLFlux2

from tests.browser.library import Library
from tests.checkpoints import make_checkpoint
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
  const load = (path) => import(new URL(path, url));
  const { Allocator } = await load('engine/memory.js');
  const { Kernels } = await load('engine/kernels.js');
  const { KERNELS } = await load('engine/selfcheck.js');
  const { Ops } = await load('engine/ops.js');
  const { Weights } = await load('engine/weights.js');
  const { TensorFiles } = await load('loader/tensors.js');
  const { decode } = await load('models/kl.js');
  const never = { check() {}, lost: new Promise(() => {}) };
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const shards = new Map();

  /** Decodes latents, or rehearses it without them. */
  globalThis.decodePicture = async ({ manifest, height, width, latents, limit }) => {
    const gpu = latents ? device : null;
    const kernels = new Kernels(gpu, new URL('wgsl/', url));
    await kernels.load(KERNELS);
    const allocator = new Allocator(gpu, limit);
    let largest = 0;
    const { allocateNew } = allocator;
    allocator.allocateNew = (bytes, label) => {
      largest = Math.max(largest, bytes);
      return allocateNew.call(allocator, bytes, label);
    };
    const read = async (index, offset, bytes) => {
      if (!gpu) return new Uint8Array(bytes);
      const file = new URL(`model/${manifest.shards[index].file}`, url);
      if (!shards.has(index)) shards.set(index, (await fetch(file)).arrayBuffer());
      return new Uint8Array(await shards.get(index), offset, bytes);
    };
    const files = new TensorFiles(manifest, { read });
    const g = new Ops({ device: gpu, kernels, allocator, watch: never });
    const [mean, variance] = await Promise.all(['mean', 'var']
      .map((name) => files.floats(`autoencoder.bn.running_${name}`)));
    const C = mean.length;
    const values = latents && new Float32Array(Uint8Array.fromBase64(latents).buffer);
    const tokens = gpu ? g.upload(values, [height * width, C], 'latents')
      : g.empty([height * width, C], 'latents');
    const weights = await new Weights(g, files, 'autoencoder').load();
    const { config } = manifest.components.autoencoder;
    const picture = await decode(g, weights, config, tokens, { height, width, mean, variance });
    const data = new Uint8Array(await g.read(picture));
    const { peakBytes } = allocator;
    weights.free();
    g.reset();
    return { peakBytes, largest, leaked: allocator.liveBytes, shape: picture.shape,
      data: gpu ? data.toBase64() : '' };
  };
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory, site):
    """model(shape) -> (checkpoint, dist, manifest)"""
    made = {}

    def make(shape):
        if shape not in made:
            folder = make_checkpoint(tmp_path_factory.mktemp("checkpoint") / shape, shape)
            dist = site(folder)
            manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
            made[shape] = folder, dist, manifest
        return made[shape]

    return make


@pytest.fixture
def decoder(server, browser):
    """decoder(dist, **call) -> the outcome, `picture` f32 [H, W, 3] of it"""
    with_page = []

    def decode(dist, **call):
        if not with_page:
            url = server(dist)
            with_page.append(Library(browser, url))
            with_page[0].page.evaluate(SETUP, url)
        outcome = with_page[0].page.evaluate("(call) => decodePicture(call)", call)
        if call.get("latents"):
            data = np.frombuffer(base64.b64decode(outcome["data"]), "<f4")
            outcome["picture"] = data.reshape(outcome["shape"])
        assert outcome["leaked"] == 0
        assert not with_page[0].complaints
        return outcome

    yield decode
    for library in with_page:
        library.context.close()


@pytest.mark.parametrize("case", CASES)
def test_strips_make_the_same_picture(case, model, decoder):
    shape, height, width, limit = CASES[case]
    folder, dist, manifest = model(shape)
    autoencoder = load_autoencoder(folder / "vae")
    channels = 4 * autoencoder.config.latent_channels
    latents = np.random.default_rng(1).standard_normal((height * width, channels), np.float32)
    call = {"manifest": manifest, "height": height, "width": width}
    drawing = call | {"latents": base64.b64encode(latents.tobytes()).decode()}

    whole = decoder(dist, limit=BINDING, **drawing)
    strips = decoder(dist, limit=limit, **drawing)
    assert strips["largest"] <= limit < whole["largest"]
    assert psnr(strips["picture"], whole["picture"]) >= 120
    assert psnr(strips["picture"], decoded(autoencoder, latents, height, width)) >= 90
    planned = decoder(dist, limit=limit, **call)
    assert planned["peakBytes"] == strips["peakBytes"]
    assert planned["largest"] == strips["largest"]


@pytest.mark.parametrize(("width", "height", "most"), [
    (512, 512, 0.6e9), (768, 768, 1.0e9), (1024, 1024, 1.5e9), (1408, 704, 1.5e9),
    (2032, 2032, 5e9), (2048, 2048, 5e9),
])  # fmt: skip
def test_memory_at_the_size_of_flux2(width, height, most, model, decoder):
    _, dist, _ = model("shallow")
    planned = decoder(dist, manifest=flux2_manifest(), height=height // 16, width=width // 16,
                      limit=BINDING)
    assert planned["shape"] == [height, width, 3]
    assert planned["largest"] <= BINDING
    assert planned["peakBytes"] <= most


def flux2_manifest():
    """What the exporter writes of the decoder of FLUX.2's autoencoder, without shards."""
    stages = len(FLUX2["block_out_channels"])
    with torch.device("meta"):
        autoencoder = AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * stages,
            up_block_types=("UpDecoderBlock2D",) * stages, **FLUX2,
        )  # fmt: skip
    tensors = {}
    for name, tensor in autoencoder.state_dict().items():
        if not name.startswith(("decoder.", "post_quant_conv.", "bn.running")):
            continue
        shape = list(tensor.shape)
        shape = [shape[0], *shape[2:], shape[1]] if len(shape) == 4 else shape
        tensors[f"autoencoder.{name}"] = {
            "shape": shape, "storage": "bf16", "data": [[0, 0, 2 * math.prod(shape)]]}
    config = dict(autoencoder.config) | {"mid_block_add_attention": True}
    return {"tensors": tensors, "components": {"autoencoder": {"config": config}}}


@torch.no_grad()
def decoded(autoencoder, tokens, height, width):
    """diffusers' picture f32 [H, W, 3] of tokens [height * width, 4C]."""
    norm = autoencoder.bn
    deviation = torch.sqrt(norm.running_var + autoencoder.config.batch_norm_eps)
    z = torch.from_numpy(tokens) * deviation + norm.running_mean
    z = z.reshape(height, width, -1, 2, 2).permute(2, 0, 3, 1, 4)
    z = z.reshape(1, -1, 2 * height, 2 * width)
    return autoencoder.decode(z).sample[0].permute(1, 2, 0).numpy()


def psnr(got, want):
    """dB of values that span -1..1."""
    assert got.shape == want.shape
    error = np.square(got.astype(np.float64) - want).mean()
    return np.inf if error == 0 else 10 * np.log10(4 / error)
