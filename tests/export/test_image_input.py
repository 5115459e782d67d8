"""--with-image-input: the autoencoder's encoder half in shards of its own, and nothing else."""

import json

import pytest

from tests.export.packed import PackedSite
from tests.export.test_build import files
from tests.export.test_refusals import config, drop, tensors
from tests.export.tiny import Tiny, as_float

ENCODER = ("encoder.", "quant_conv.")
VAE = "vae/diffusion_pytorch_model.safetensors"
VAE_CONFIG = "vae/config.json"


@pytest.fixture
def sites(build, mlx, tmp_path):
    """The same model, (without, with) image input."""
    made = []
    for name, options in (("without", []), ("with", ["--with-image-input"])):
        result = build("--model", mlx, "--out", tmp_path / name, *options)
        assert result.status == 0, result.stderr
        made.append(PackedSite(tmp_path / name))
        made[-1].check_shards()
    return made


def test_the_encoder_arrives_exactly_in_shards_on_demand(sites):
    _, site = sites
    manifest, shards = site.manifest, site.manifest["shards"]
    assert manifest["pipeline"]["image_input"] == {"most": 2}
    encoder = {"block_out_channels": [8, 12], "use_quant_conv": True}
    assert manifest["components"]["autoencoder"]["config"]["encoder"] == encoder
    source = {name: tensor for name, tensor in Tiny().autoencoder.items()
              if name.startswith(ENCODER)}
    assert len(source) > 40
    for name, (dtype, stored) in source.items():
        entry = manifest["tensors"][f"autoencoder.{name}"]
        want = as_float(stored, dtype)
        want = want.transpose(0, 2, 3, 1) if want.ndim == 4 else want
        assert entry["shape"] == list(want.shape)
        assert (site.weight(f"autoencoder.{name}") == want).all(), name
    later = {name for name, entry in manifest["tensors"].items() if name.startswith("autoencoder.")
             and any(shards[shard].get("onDemand") for shard, _, _ in entry["data"])}
    assert later == {f"autoencoder.{name}" for name in source}


def test_everything_else_is_the_same_to_the_byte(sites):
    plain, full = (files(site.folder.parent) for site in sites)
    added = full.keys() - plain.keys()
    assert not plain.keys() - full.keys() and {name.split(".")[-1] for name in added} == {"bin"}
    told = {"model/manifest.json", "index.html", "sw.js"}  # the worker names hashes of the others
    assert {name for name in plain if plain[name] != full[name]} == told

    want, got = (site.manifest for site in sites)
    assert got["pipeline"].pop("image_input") and "image_input" not in want["pipeline"]
    autoencoder = got["components"]["autoencoder"]
    assert autoencoder["config"].pop("encoder")
    assert set(autoencoder.pop("image_input")) == got["tensors"].keys() - want["tensors"].keys()
    for key in ("parameters", "source_bytes"):
        assert autoencoder.pop(key) > want["components"]["autoencoder"].pop(key)
    got["shards"] = [shard for shard in got["shards"] if f"model/{shard['file']}" not in added]
    got["tensors"] = {name: entry for name, entry in got["tensors"].items()
                      if not name.removeprefix("autoencoder.").startswith(ENCODER)}
    assert json.dumps(got) == json.dumps(want)


def test_a_dry_run_foretells_it(build, mlx, tmp_path):
    options = ["--model", mlx, "--with-image-input"]
    dry = build(*options, "--dry-run").stdout
    wet = build(*options, "--out", tmp_path / "site").stdout
    assert dry.split("\n\n")[:2] == wet.split("\n\n")[:2]
    manifest = PackedSite(tmp_path / "site").manifest
    encoder, = [shard["bytes"] for shard in manifest["shards"]
                if shard["component"] == "autoencoder" and shard.get("onDemand")]
    line, = [line for line in dry.splitlines() if line.startswith("reference images")]
    assert line.split()[-1] == f"{encoder:,}"
    assert "with 2 images of 1024 x 1024" in dry and "needs only the decoder" not in dry
    plain = build("--model", mlx, "--dry-run").stdout
    assert "reference images" not in plain and "images of" not in plain

    def row(text, start):
        return next(line for line in text.splitlines() if line.startswith(start))

    for start in ("a first picture", "other sizes"):
        assert row(dry, start) == row(plain, start)


def test_the_option_is_a_change(build, mlx, tmp_path):
    arguments = ["--model", mlx, "--out", tmp_path / "site"]
    assert build(*arguments).status == 0
    assert "nothing to do" not in build(*arguments, "--with-image-input").stdout
    assert "nothing to do" in build(*arguments, "--with-image-input").stdout


def without_encoder(held):
    for name in [name for name in held if name.startswith(ENCODER)]:
        del held[name]


REFUSALS = {
    "no encoder": (tensors(VAE, without_encoder),
                   "vae: the autoencoder has no encoder, got --with-image-input"),
    "a part of it missing": (drop(VAE, "encoder.conv_out.bias"), "missing: encoder.conv_out.bias"),
    "no quant_conv": (drop(VAE, "quant_conv.weight"), "missing: quant_conv.weight"),
    "odd channels": (config(VAE_CONFIG, block_out_channels=[6, 12], norm_num_groups=2,
                            decoder_block_out_channels=[8, 12]),
                     "a stage of the encoder has 6 channels, expected a multiple of 4"),
    "groups": (config(VAE_CONFIG, block_out_channels=[10, 12], decoder_block_out_channels=[8, 12]),
               "a stage of the encoder has 10 channels"),
    "attention": (config(VAE_CONFIG, block_out_channels=[8, 516],
                         decoder_block_out_channels=[8, 12]), "the encoder's attention is 516"),
    "blocks": (config(VAE_CONFIG, down_block_types=["AttnDownBlock2D"] * 2), "down_block_types"),
    "grey": (config(VAE_CONFIG, in_channels=1), "in_channels is 1"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_with_the_option_alone(build, mlx, tmp_path, case):
    change, message = REFUSALS[case]
    change(mlx)
    arguments = ["--model", mlx, "--out", tmp_path / "site"]
    result = build(*arguments, "--with-image-input")
    assert result.status == 1 and message in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1 and not (tmp_path / "site").exists()
    assert build(*arguments).status == 0
