"""AutoencoderDC's decoder: the picture that diffusers' makes, whole and in strips."""

import base64
import json
import math

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC
from safetensors.torch import save_file

from export import layouts
from export.autoencoders import dc
from export.families.family import AUTOENCODER, Part
from export.opening import open_component
from export.packing.pack import pack_tensors
from export.source.configuration import Configuration
from export.source.safetensors import Checkpoint
from tests.browser.library import Library
from tests.closeness import psnr, relative_error

BINDING = 128 << 20  # what every device binds
RES, VIT = "ResBlock", "EfficientViTBlock"
CONFIGS = {
    # Both kinds of block, several scales and one, strips of few rows where little may be bound.
    "deep": {
        "latent_channels": 8, "attention_head_dim": 32, "scaling_factor": 0.41407,
        "decoder_block_types": (RES, RES, VIT, VIT), "upsample_block_type": "interpolate",
        "decoder_block_out_channels": (32, 64, 64, 64), "decoder_layers_per_block": (2, 1, 2, 1),
        "decoder_qkv_multiscales": ((), (), (3, 5), (5,)),
    },
    # No scales, heads that leave channels over, no block at the pixels, other switches.
    "shallow": {
        "latent_channels": 6, "attention_head_dim": 20, "scaling_factor": 2.0,
        "decoder_block_types": (RES, RES, VIT), "upsample_block_type": "pixel_shuffle",
        "decoder_block_out_channels": (12, 24, 48), "decoder_layers_per_block": (0, 2, 1),
        "decoder_qkv_multiscales": ((), (), ()), "decoder_act_fns": ("silu", "relu", "silu"),
        "decoder_in_shortcut": False, "decoder_conv_act_fn": "silu",
    },
}
STORED = {"deep": torch.bfloat16, "shallow": torch.float32}
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
  const { decode } = await load('models/autoencoders/dc.js');
  const never = { check() {}, lost: new Promise(() => {}) };
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  /** Decodes latents, or rehearses it without them. */
  globalThis.decodeLatents = async ({ manifest, payload, height, width, latents, limit }) => {
    const gpu = latents ? device : null;
    const kernels = new Kernels(gpu, new URL('wgsl/', library.code), fetchText);
    await kernels.load(KERNELS);
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
    const weights = await new Weights(g, files, 'autoencoder').load();
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
    module = random_module(CONFIGS[name], STORED[name])
    (folder / "config.json").write_text(json.dumps(dict(module.config)), encoding="utf-8")
    tensors = {key: tensor.to(STORED[name]) for key, tensor in module.state_dict().items()}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
    config = dc.read_config(Configuration.read(folder / "config.json"))
    part = Part("autoencoder", AUTOENCODER, dc, dc.read_config, layouts.WHOLE, "vae")
    component = open_component(part, config, layouts.Floats, Checkpoint(folder), None)
    payload = Payload()
    entries = pack_tensors(component, component.specs, payload, lambda component: None)
    return module, manifest_of(config, entries), base64.b64encode(payload.bytes).decode()


def random_module(config, dtype):
    """With norms that are not 1 and 0, and weights that `dtype` holds exactly."""
    torch.manual_seed(7)
    stages = len(config["decoder_block_out_channels"])
    module = AutoencoderDC(
        encoder_block_types=RES, encoder_block_out_channels=(8,) * stages,
        encoder_layers_per_block=(1,) * stages, encoder_qkv_multiscales=((),) * stages,
        encoder_out_shortcut=False, downsample_block_type="conv", **config,
    ).eval()
    for tensor in module.state_dict().values():
        if tensor.ndim == 1:
            tensor += 0.3 * torch.randn_like(tensor)
        tensor.copy_(tensor.to(dtype).float())
    return module


def manifest_of(config, tensors):
    latents = {"channels": config.latent_channels, "pixels": config.scale_factor,
               "scale": 1 / config.scaling_factor, "shift": 0}
    return {"tensors": tensors, "latents": latents,
            "components": {"autoencoder": {"config": config.manifest()}}}


@pytest.fixture(scope="module")
def page(browser, url):
    with Library(browser, url) as library:
        library.page.evaluate(SETUP, url)
        yield library.page
        assert library.complaints == []


def decoded(page, manifest, payload, height, width, latents=None, limit=BINDING):
    """The outcome, `made` f32 [H, W, 3]; without latents that of a rehearsal."""
    real = latents is not None
    call = {"manifest": manifest, "payload": payload, "height": height, "width": width,
            "limit": limit,
            "latents": base64.b64encode(latents.tobytes()).decode() if real else None}
    outcome = page.evaluate("(call) => decodeLatents(call)", call)
    if real:
        data = np.frombuffer(base64.b64decode(outcome["data"]), "<f4")
        outcome["made"] = data.reshape(outcome["shape"])
    assert outcome["leaked"] == 0
    return outcome


@torch.no_grad()
def diffusers_picture(module, latents, height, width):
    z = torch.from_numpy(latents).T.reshape(1, -1, height, width) / module.config.scaling_factor
    return module.decode(z).sample[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("case", CASES)
def test_the_picture_is_diffusers_whole_and_in_strips(case, autoencoder, page):
    name, height, width, limit = CASES[case]
    module, manifest, payload = autoencoder(name)
    shape = height * width, module.config.latent_channels
    latents = np.random.default_rng(1).standard_normal(shape, np.float32)
    want = diffusers_picture(module, latents, height, width)

    whole = decoded(page, manifest, payload, height, width, latents)
    assert psnr(whole["made"], want, span=2) >= 90
    assert relative_error(whole["made"], want) <= 1e-5
    strips = decoded(page, manifest, payload, height, width, latents, limit)
    assert strips["largest"] <= limit
    assert psnr(strips["made"], whole["made"], span=2) >= 120
    planned = decoded(page, manifest, None, height, width, limit=limit)
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
