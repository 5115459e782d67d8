"""What decoding at the published size takes of a device, as the page's code counts it."""

import math

import pytest

from export.autoencoders import dc
from export.packing.memory import Picture
from export.source.configuration import Configuration
from tests.web.node import WEB, call

REHEARSE = """
async ({ manifest, side, web }) => {
  const { readFileSync } = await import('node:fs');
  const load = (path) => import(new URL(path, web));
  const { GpuExecutor } = await load('engine/executor.js');
  const { Kernels } = await load('engine/kernels.js');
  const { Allocator } = await load('engine/memory.js');
  const { Ops } = await load('engine/ops.js');
  const { KERNELS } = await load('engine/selfcheck.js');
  const { Stages } = await load('engine/stages.js');
  const { TensorFiles } = await load('loader/tensors.js');
  const { FAMILIES } = await load('models/families.js');
  const kernels = new Kernels(null, new URL('../wgsl/', web),
    async (url) => readFileSync(url, 'utf8'));
  await kernels.load(KERNELS);
  const g = new Ops({ device: null, kernels, allocator: new Allocator(null, 2 ** 27) });
  const files = new TensorFiles(manifest, { read: async (_, at, bytes) => new Uint8Array(bytes) });
  const { components, latents: { channels, pixels } } = manifest;
  const stages = new Stages(g, files, { components, budget: 0, memory: 'auto' });
  const executor = new GpuExecutor({ g, stages, files, manifest }, FAMILIES.sana);
  const grid = { height: side / pixels, width: side / pixels };
  const latents = g.empty([grid.height * grid.width, channels], 'latents');
  await executor.decode(latents, { height: side, width: side, grid }, { observe() {} });
  const { peakBytes } = g.allocator;
  g.reset();
  return { peakBytes, leaked: g.allocator.liveBytes };
}
"""


def published():
    """dc-ae-f32c32-sana's decoder with weights in 16 bits, as a manifest has it."""
    config = dc.read_config(Configuration("config.json", {
        "decoder_block_types": 3 * [dc.RES_BLOCK] + 3 * [dc.VIT_BLOCK],
        "upsample_block_type": "interpolate", "scaling_factor": 0.41407}))
    tensors = {}
    for name, spec in dc.spec(config).items():
        use = {"use": "vector"} if spec.role == "vector" else {}
        shape = list(spec.shape)
        if len(shape) == 4 and not use:
            cout, cin, high, wide = shape
            shape = [high, wide, cout] if cin == 1 else [cout, high, wide, cin]
        tensors[f"autoencoder.{name}"] = {
            "shape": shape, "storage": "f16", "data": [[0, 0, 2 * math.prod(shape)]]} | use
    values = sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    part = {"config": config.manifest(), "gpu_bytes": 2 * values}
    latents = {"channels": config.latent_channels, "pixels": config.scale_factor,
               "scale": 1 / config.scaling_factor, "shift": 0}
    return config, {"tensors": tensors, "latents": latents, "components": {"autoencoder": part}}


@pytest.mark.parametrize(("side", "most"), [(512, 0.4e9), (1024, 0.8e9)])
def test_a_decoder_that_is_not_kept_comes_stage_by_stage(side, most):
    """Whole it is 0.32e9 bytes; the stages whose pictures take the most are a small part of it."""
    config, manifest = published()
    whole = manifest["components"]["autoencoder"]["gpu_bytes"]
    counted = call(REHEARSE, {"manifest": manifest, "side": side, "web": WEB})
    print(f"{side} x {side}: {counted['peakBytes']:,}")
    assert counted["leaked"] == 0 and counted["peakBytes"] <= most
    beside = dc.activation_bytes(config, Picture(side, side, 0, 0, 0))
    assert counted["peakBytes"] <= beside + whole // dc.streamed_layers(config)
