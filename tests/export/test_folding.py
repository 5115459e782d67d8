"""The folded schedule at export: what is shipped at once, what on demand, and how much that is."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from export.autoencoders import kl
from export.denoisers import flux2
from export.denoisers.flux2_tables import Folding, plan_folding
from export.families.call import SIZES
from export.families.flux2 import FLUX2
from export.packing.formats import Storage
from export.packing.model import Component
from export.packing.spec import LOWBIT
from export.prompts.tokenizer import read_tokenizer
from export.samplers.flow_euler import sigmas, times
from export.source.configuration import Configuration
from tests.export.packed import PackedSite
from tests.export.test_layouts import klein
from tests.export.tiny import as_float, load
from tests.qwen_tokenizer import write_large_tokenizer

TEXT_ENCODER_BYTES = 1_751_883_264
TRANSFORMER = "transformer-packed-mflux/diffusion_pytorch_model.safetensors"


def offered(width, height, *sizes, steps=4):
    return SimpleNamespace(width=width, height=height, sizes=[[width, height], *sizes],
                           num_inference_steps=steps)


def published(variant):
    """The published model's transformer and autoencoder, as they are stored."""
    folding = plan_folding(klein(), offered(512, 512, *SIZES), 16, flux2.SCHEDULER)
    specs = flux2.spec(klein())
    transformer = Component(FLUX2.denoiser, klein(), None, specs, folding=folding)
    for name, spec in specs.items():
        lowbit = Storage(variant, spec.shape, 128, "bf16")
        plain = Storage("bf16", spec.shape)
        transformer.storages[name] = lowbit if spec.role == LOWBIT else plain
    config = kl.read_config(Configuration("config.json", {
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 32,
    }))
    specs = kl.spec(config)
    decoder = 2 * sum(math.prod(spec.shape) for spec in specs.values())
    return transformer, decoder


@pytest.mark.parametrize(("variant", "most"), [("ternary", 0.85e9), ("binary", 0.58e9)])
def test_the_published_model_s_first_picture(variant, most, tmp_path):
    transformer, decoder = published(variant)
    table = transformer.folding.tables[0]
    assert table.name == "folded.1024.4"
    assert table.storage.shape == (4, 52_224) and table.storage.wire_bytes == 835_584
    assert transformer.packed_bytes <= most
    rows = 5 * sum(range(1, 9)) - 4  # of five numbers of tokens, without the first table's
    assert transformer.on_demand_bytes == 341_311_488 + rows * 4 * 52_224
    write_large_tokenizer(tmp_path)
    tokenizer = len(read_tokenizer(tmp_path).file)
    total = transformer.packed_bytes + decoder + TEXT_ENCODER_BYTES + tokenizer
    print(f"{variant}: denoiser {transformer.packed_bytes:,}, tokenizer {tokenizer:,}, "
          f"first picture {total:,}")
    assert total <= {"ternary": 2.70e9, "binary": 2.43e9}[variant]


def test_a_table_for_every_offered_schedule():
    folding = plan_folding(klein(), offered(512, 512, [768, 512]), 16, flux2.SCHEDULER)
    assert {table.name for table in folding.tables} == {
        f"folded.{tokens}.{steps}" for tokens in (1024, 1536) for steps in range(1, 9)}
    for table in folding.tables:
        tokens, steps = map(int, table.name.split(".")[1:])
        want = times(steps, tokens, flux2.SCHEDULER)
        assert table.timesteps.dtype == np.float32 and (table.timesteps == want).all()
        assert table.storage.shape[0] == steps


def test_the_default_steps_have_a_table_however_many():
    folding = plan_folding(klein(), offered(512, 512, steps=12), 16, flux2.SCHEDULER)
    assert folding.tables[0].name == "folded.1024.12"
    assert len(folding.tables) == 9


def test_sigmas_of_four_steps_at_512():
    """PrismML's own, of the published model."""
    got = sigmas(4, 1024, flux2.SCHEDULER)
    np.testing.assert_allclose(got, [1, 0.958085388, 0.883981873, 0.717496582, 0], atol=6e-8)


def test_sizes_of_as_many_tokens_share_their_tables():
    sizes = ([768, 512], [512, 768], [1024, 384])
    tables = plan_folding(klein(), offered(512, 512, *sizes), 16, flux2.SCHEDULER).tables
    assert len(tables) == len({table.name for table in tables}) == 2 * 8


def test_only_the_default_schedule_s_table_is_downloaded_at_once(build, mlx, tmp_path):
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    site = PackedSite(tmp_path / "site")
    site.check_shards()
    shards, tensors = site.manifest["shards"], site.manifest["tensors"]
    schedules = site.manifest["schedules"]
    first, *others = schedules["tables"]
    assert first == {"tokens": 48, "steps": 3, "tensor": "transformer.folded.48.3"}
    assert len(others) == 15 and schedules["parts"] == [6, 6, 3, 2]
    assert schedules["projections"] == [f"transformer.{name}" for name in Folding.projections]
    later = {name for name, tensor in tensors.items() if any(
        shards[shard].get("onDemand") for part in ("data", "codes", "scales", "biases")
        for shard, _, _ in tensor.get(part, []))}
    assert later == {*(table["tensor"] for table in others), *schedules["projections"]}
    for table in others:  # one costs its own rows and no more
        (shard, _, count), = tensors[table["tensor"]]["data"]
        assert shards[shard]["bytes"] == count == 4 * 17 * 128 * table["steps"]
    now = sum(s["bytes"] for s in shards if not s.get("onDemand"))
    now += sum(p["tokenizer"]["bytes"] for p in site.manifest["prompts"])
    assert f"{now:,} bytes to download for a first picture" in result.stdout
    assert f"{now:,}" in build("--model", mlx, "--dry-run").stdout


@pytest.mark.parametrize(("tokens", "steps"), [(48, 3), (256, 8)])
def test_a_table_holds_the_modulations(build, mlx, tmp_path, tokens, steps):
    """Against the formulas, written out in float64."""
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
    site = PackedSite(tmp_path / "site")
    source = {name: as_float(stored, dtype).astype(float)
              for name, (dtype, stored) in load(mlx / TRANSFORMER).items() if dtype != "U32"}
    rows = site.weight(f"transformer.folded.{tokens}.{steps}")
    moments = times(steps, tokens, site.manifest["sampler"]["config"])
    embedder = "time_guidance_embed.timestep_embedder"
    for time, row in zip(moments.astype(float), rows, strict=True):
        angles = time * np.exp(-math.log(10000) * np.arange(16) / 16)
        x = np.concatenate([np.cos(angles), np.sin(angles)])
        for name in (f"{embedder}.linear_1", f"{embedder}.linear_2"):
            x = source[f"{name}.weight"] @ x
            x = x / (1 + np.exp(-x))
        want = np.concatenate([source[f"{name}.linear.weight"] @ x for name in (
            "double_stream_modulation_img", "double_stream_modulation_txt",
            "single_stream_modulation", "norm_out")])
        assert np.linalg.norm(row - want) <= 1e-4 * np.linalg.norm(want)
