"""Ternary and binary weights on a grid of any width, and floats that fewer bits hold."""

import math

import numpy as np
import pytest

from tests.export.packed import PackedSite
from tests.export.tiny import AUTOENCODER, NUMPY, Tiny, as_float, edit, load, write_json
from tests.fullscale.formats import Part, write_safetensors
from tests.fullscale.layouts import native_parts, write
from tests.fullscale.model import Model

DIT = "transformer/diffusion_pytorch_model.safetensors"
TO_Q = "transformer_blocks.0.attn.to_q"
DOWN = "single_transformer_blocks.0.attn.to_out"  # [128, 384], cut at column 128


def built(build, folder, out):
    result = build("--model", folder, "--out", out)
    assert result.status == 0, result.stderr
    return PackedSite(out)


def on_grid(random, shape, group, binary):
    """f32 weights with a scale for every `group` inputs, which bf16 holds."""
    rows, columns = shape
    scales = random.integers(1, 128, (rows, columns // group)) / 256.0
    signs = random.choice([-1, 1], shape) if binary else random.integers(-1, 2, shape)
    return (np.repeat(scales, group, axis=1) * signs).astype("<f4")


def regroup(tiny, folder, group, dtype="BF16"):
    """Rewrites every low-bit weight that such groups divide; name -> weights."""
    random, weights = np.random.default_rng(3), {}

    def change(tensors):
        for name in tiny.codes:
            shape = tensors[f"{name}.weight"][1].shape
            if shape[1] % group == 0:
                weights[name] = on_grid(random, shape, group, tiny.variant == "binary")
                stored = weights[name].view("<u4") >> 16 if dtype == "BF16" else weights[name]
                tensors[f"{name}.weight"] = (dtype, stored)

    edit(folder / DIT, change)
    return weights


@pytest.mark.parametrize("variant", ["ternary", "binary"])
@pytest.mark.parametrize(("group", "dtype"), [(32, "BF16"), (64, "BF16"), (64, "F16"), (64, "F32")])
def test_unpacked_groups_are_found(build, tmp_path, variant, group, dtype):
    tiny = Tiny(variant)
    folder = tiny.write(tmp_path / "tiny", "unpacked")
    weights = regroup(tiny, folder, group, dtype)
    site = built(build, folder, tmp_path / "site")
    assert site.manifest["variant"] == variant and len(weights) == len(tiny.codes)
    for name, want in weights.items():
        entry = site.manifest["tensors"][f"transformer.{name}.weight"]
        assert (entry["storage"], entry["group"]) == (variant, group)
        assert entry["scales_dtype"] == ("f16" if dtype == "F16" else "bf16")
        assert (site.weight(f"transformer.{name}.weight") == want).all()


@pytest.mark.parametrize(("group", "stored"), [(256, 128), (384, 128), (96, 32), (192, 64)])
def test_wide_groups_end_where_the_weight_is_cut(build, tmp_path, group, stored):
    """[128, 384] runs as [128, 128] and [128, 256]: no group may cross column 128."""
    tiny = Tiny()
    folder = tiny.write(tmp_path / "tiny", "unpacked")
    shape = (128, 384)
    columns = np.minimum(np.arange(384) // group, 384 // group)
    scales = np.random.default_rng(0).integers(1, 128, (128, columns.max() + 1)) / 256
    signs = np.random.default_rng(1).integers(-1, 2, shape)
    want = (scales[:, columns] * signs).astype("<f4")
    edit(folder / DIT, lambda t: t.update({f"{DOWN}.weight": ("F32", want)}))
    site = built(build, folder, tmp_path / "site")
    assert site.manifest["tensors"][f"transformer.{DOWN}.weight"]["group"] == stored
    assert (site.weight(f"transformer.{DOWN}.weight") == want).all()


def test_a_group_that_no_width_of_128_divides(build, tmp_path):
    """Inputs of 384 in groups of 96 and 192."""
    model = Model("tiny", "ternary")  # its MLP is 384 wide
    write(model, "unpacked", tmp_path / "m")
    names = {f"transformer_blocks.{i}.ff.linear_out.weight": 96 * (i + 1) for i in range(2)}
    weights = {name: on_grid(np.random.default_rng(group), (128, 384), group, False)
               for name, group in names.items()}
    edit(tmp_path / "m" / DIT, lambda t: t.update({n: ("F32", w) for n, w in weights.items()}))
    site = built(build, tmp_path / "m", tmp_path / "site")
    for name, want in weights.items():
        assert site.manifest["tensors"][f"transformer.{name}"]["group"] == names[name]
        assert (site.weight(f"transformer.{name}") == want).all()


@pytest.mark.parametrize(("shape", "name", "group"), [
    ((128, 128), TO_Q, 8), ((128, 256), "transformer_blocks.0.ff.linear_out", 8),
])
def test_groups_that_the_kernels_do_not_take(build, tmp_path, shape, name, group):
    folder = Tiny().write(tmp_path / "tiny", "unpacked")
    weights = on_grid(np.random.default_rng(2), shape, group, False)
    edit(folder / DIT, lambda t: t.update({f"{name}.weight": ("F32", weights)}))
    result = build("--model", folder, "--out", tmp_path / "site")
    assert result.status == 1 and "full-precision" not in result.stderr
    assert f"{name}.weight is ternary in groups of {group}; this version packs multiples of 16" in (
        result.stderr)


def test_groups_of_48_in_a_single_file(build, tmp_path):
    model = Model("tiny", "ternary")
    write(model, "native", tmp_path / "m")

    def lowbit(native, names, shape):
        if native == "double_blocks.0.img_mlp.2.weight":
            weights = on_grid(np.random.default_rng(2), shape, 48, False)
            return Part(native, "F32", shape, lambda: [weights])
        return Part(native, "BF16", shape, lambda: (model.weights(name) for name in names))

    write_safetensors(next((tmp_path / "m").glob("*.safetensors")), native_parts(model, lowbit))
    site = built(build, tmp_path / "m", tmp_path / "site")
    name = "transformer.transformer_blocks.0.ff.linear_out.weight"
    entry = site.manifest["tensors"][name]
    assert entry["group"] == 48
    want = on_grid(np.random.default_rng(2), tuple(entry["shape"]), 48, False)
    assert (site.weight(name) == want).all()


def widen(tensors, dtype):
    for name, (kind, stored) in tensors.items():
        if kind in ("BF16", "F16"):
            tensors[name] = (dtype, as_float(stored, kind).astype(NUMPY[dtype]))


@pytest.mark.parametrize("layout", ["unpacked", "mlx"])
def test_f32_that_bf16_holds_is_stored_as_bf16(build, tmp_path, layout):
    folder = Tiny().write(tmp_path / "tiny", layout)
    want = built(build, folder, tmp_path / "site").manifest
    for path in folder.glob("*/*.safetensors"):
        edit(path, lambda tensors: widen(tensors, "F32"))
        assert {kind for kind, _ in load(path).values()} <= {"F32", "U32", "I64"}
    got = built(build, folder, tmp_path / "again").manifest
    assert got["tensors"] == want["tensors"] and got["shards"] == want["shards"]
    plan = build("--model", folder, "--dry-run").stdout
    assert f"{want['components']['transformer']['packed_bytes']:,}" in plan


@pytest.mark.parametrize("variant", ["ternary", "binary"])
def test_f32_that_nothing_narrower_holds_stays(build, tmp_path, variant):
    """A scale of 1/3, and a binary one whose double alone would overflow f16."""
    folder = Tiny(variant).write(tmp_path / "tiny", "unpacked")
    values = [-1, 1] if variant == "binary" else [-1, 0, 1]
    signs = np.random.default_rng(1).choice(values, (128, 128))
    want = {TO_Q: signs * np.float32(1 / 3),
            "transformer_blocks.0.attn.to_k": signs * np.float32(40000.0 + 2.0**-5)}
    edit(folder / DIT, lambda t: t.update({f"{n}.weight": ("F32", w) for n, w in want.items()}))
    site = built(build, folder, tmp_path / "site")
    for name, weights in want.items():
        assert site.manifest["tensors"][f"transformer.{name}.weight"]["scales_dtype"] == "f32"
        assert (site.weight(f"transformer.{name}.weight") == weights.astype("<f4")).all()


def test_f32_that_f16_holds_is_stored_as_f16(build, tmp_path):
    tiny = Tiny(dtype="F16")
    folder = tiny.write(tmp_path / "tiny", "unpacked")
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    bias = np.full(12, 1 + 2.0**-10, "<f2")  # f16 holds it, bf16 does not
    small = np.full(12, 2.0**-20, "<f4") * np.float32(1 + 2.0**-9)  # a GPU may take f16's for zero
    whole = np.full(12, np.float32(math.pi))

    def change(tensors):
        tensors["decoder.conv_in.bias"] = ("F32", bias.astype("<f4"))
        tensors["decoder.conv_norm_out.weight"] = ("F32", whole[:8])
        tensors["decoder.up_blocks.0.resnets.0.conv1.bias"] = ("F32", small)

    edit(path, change)
    write_json(folder / "vae" / "config.json", AUTOENCODER)
    site = built(build, folder, tmp_path / "site")
    for name, kind, values in (
        ("decoder.conv_in.bias", "f16", bias), ("decoder.conv_norm_out.weight", "f32", whole[:8]),
        ("decoder.up_blocks.0.resnets.0.conv1.bias", "f32", small),
    ):
        assert site.manifest["tensors"][f"autoencoder.{name}"]["storage"] == kind, name
        assert (site.weight(f"autoencoder.{name}") == values).all()
