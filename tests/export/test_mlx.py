"""MLX files: bits and group size of each weight, and the layout known by the tensors."""

import json

import numpy as np
import pytest

from tests.export.packed import PackedSite
from tests.export.test_published import shards
from tests.export.tiny import TEXT_GROUP, Tiny, as_float, edit, load, pack_bits, save, write_json

ENCODER = "text_encoder-mlx-4bit"
EMBED = "embed_tokens.weight"
DOWN = "layers.0.mlp.down_proj.weight"


def built(build, folder, out, *options):
    result = build("--model", folder, "--out", out, *options)
    assert result.status == 0, result.stderr
    return PackedSite(out)


def requantise(folder, bits, groups=None):
    """Gives weights other bits: {name: bits} or one number for all; groups {name: group size}."""
    tiny, groups = Tiny(seed=9), groups or {}

    def change(tensors):
        for base in [name.removesuffix(".scales") for name in tensors if name.endswith(".scales")]:
            name = base.removeprefix("model.") + ".weight"
            rows, count = tensors[f"{base}.scales"][1].shape
            columns = count * TEXT_GROUP
            own = bits if isinstance(bits, int) else bits.get(name, 4)
            codes = tiny.random.integers(0, 2**own, (rows, columns))
            shape = rows, columns // groups.get(name, TEXT_GROUP)
            tensors[f"{base}.weight"] = ("U32", pack_bits(codes, own))
            tensors[f"{base}.scales"] = tiny.floats(*shape)
            tensors[f"{base}.biases"] = tiny.floats(*shape)

    edit(folder / "model.safetensors", change)


def quantization(folder, **values):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    write_json(path, config | {"quantization": values, "quantization_config": values})


def formula(folder, name):
    """scale * code + bias, float64, by the stored shapes alone."""
    tensors, base = load(folder / "model.safetensors"), f"model.{name.removesuffix('.weight')}"
    words = tensors[f"{base}.weight"][1]
    scales, biases = (as_float(tensors[f"{base}.{part}"][1], tensors[f"{base}.{part}"][0])
                      for part in ("scales", "biases"))
    columns = {EMBED: 64, DOWN: 128}[name]
    bits, group = 32 * words.shape[1] // columns, columns // scales.shape[1]
    codes = words[..., None] >> np.arange(0, 32, bits, dtype=np.uint32) & np.uint32(2**bits - 1)
    wide = (np.repeat(values.astype(float), group, axis=1) for values in (scales, biases))
    scale, bias = wide
    return scale * codes.reshape(len(words), -1) + bias


MIXED = {
    "embedding in 8": ({EMBED: 8}, {}, {"model.embed_tokens": {"bits": 8, "group_size": 64}}),
    "one linear in 8": ({DOWN: 8}, {}, {"model.layers.0.mlp.down_proj": {"bits": 8}}),
    "other groups": ({EMBED: 8}, {DOWN: 32}, {"model.embed_tokens": {"bits": 8},
                                              "model.layers.0.mlp.down_proj": {"group_size": 32}}),
    "two bits": ({DOWN: 2}, {DOWN: 128},
                 {"model.layers.0.mlp.down_proj": {"group_size": 128, "bits": 2}}),
}


@pytest.mark.parametrize("case", MIXED)
def test_bits_and_groups_of_each_module(build, mlx, tmp_path, case):
    bits, groups, declared = MIXED[case]
    requantise(mlx / ENCODER, bits, groups)
    quantization(mlx / ENCODER, bits=4, group_size=64, mode="affine", **declared)
    site = built(build, mlx, tmp_path / "site")
    for name in (EMBED, DOWN):
        tensor = site.manifest["tensors"][f"text_encoder.{name}"]
        assert tensor["storage"] == f"affine{bits.get(name, 4)}"
        assert tensor["group"] == groups.get(name, 64)
        assert (site.weight(f"text_encoder.{name}") == formula(mlx / ENCODER, name)).all()


LOWBIT = {"ternary": (2, -1.0), "binary": (1, -0.5)}  # bits, and a bias for each scale


@pytest.mark.parametrize("kind", LOWBIT)
@pytest.mark.parametrize("general", ["", "a bias", "a code"])
def test_a_ternary_or_binary_linear_is_stored_as_such(build, mlx, tmp_path, kind, general):
    """But not where one group's bias is another, or a code is 3; rows of a table never are."""
    bits, share = LOWBIT[kind]
    names = [name.removeprefix("model.").removesuffix("scales") + "weight"
             for name in load(mlx / ENCODER / "model.safetensors") if name.endswith("scales")]
    requantise(mlx / ENCODER, bits, dict.fromkeys(names, 32))

    def change(tensors):
        for base in [name.removesuffix(".scales") for name in tensors if name.endswith(".scales")]:
            dtype, scales = tensors[f"{base}.scales"]
            biases = (share * as_float(scales, dtype)).astype("<f4").view("<u4") >> 16
            tensors[f"{base}.biases"] = ("BF16", biases.astype("<u2"))
            if kind == "ternary":  # every code 3 becomes 1
                words = tensors[f"{base}.weight"][1]
                ones = words & words >> np.uint32(1) & np.uint32(0x55555555)
                tensors[f"{base}.weight"] = ("U32", words & ~(ones << np.uint32(1)))
        part, bit = {"a bias": ("biases", 1), "a code": ("weight", 3)}.get(general, ("biases", 0))
        key = f"model.{DOWN.removesuffix('weight')}{part}"
        dtype, values = tensors[key]
        values = values.copy()
        values[-1, -1] |= bit
        tensors[key] = (dtype, values)

    edit(mlx / ENCODER / "model.safetensors", change)
    quantization(mlx / ENCODER, bits=bits, group_size=32)
    site = built(build, mlx, tmp_path / "site")
    tensors = site.manifest["tensors"]  # of the layers that are read
    stored = {name: tensors[f"text_encoder.{name}"]["storage"] for name in names
              if f"text_encoder.{name}" in tensors}
    is_general = general == "a bias" or (general == "a code" and kind == "ternary")
    assert stored.pop(EMBED) == f"affine{bits}"
    assert stored.pop(DOWN) == (f"affine{bits}" if is_general else kind)
    assert set(stored.values()) == {kind}
    for name in (EMBED, DOWN):
        assert (site.weight(f"text_encoder.{name}") == formula(mlx / ENCODER, name)).all()


def whole_embedding(folder):
    values = Tiny(seed=9).floats(40, 64)

    def change(tensors):
        del tensors["model.embed_tokens.scales"], tensors["model.embed_tokens.biases"]
        tensors["model.embed_tokens.weight"] = values

    edit(folder / "model.safetensors", change)
    return as_float(values[1], values[0])


@pytest.mark.parametrize("declared", [{}, {"model.embed_tokens": False}])
def test_a_module_that_was_left_whole(build, mlx, tmp_path, declared):
    values = whole_embedding(mlx / ENCODER)
    quantization(mlx / ENCODER, bits=4, group_size=64, **declared)
    site = built(build, mlx, tmp_path / "site")
    assert site.manifest["tensors"][f"text_encoder.{EMBED}"]["storage"] == "bf16"
    assert (site.weight(f"text_encoder.{EMBED}") == values).all()


CONTRADICTIONS = {
    "8 for 4": (8, {"bits": 4}, "embed_tokens.weight holds 8 bits, config.json says 4"),
    "4 for 8": (4, {"bits": 8}, "embed_tokens.weight holds 4 bits, config.json says 8"),
    "one of them": ({DOWN: 8}, {"bits": 4},
                    "mlp.down_proj.weight holds 8 bits, config.json says 4"),
    "a module": (4, {"bits": 4, "model.embed_tokens": {"bits": 8}},
                 "embed_tokens.weight holds 4 bits, config.json says 8"),
    "false": (4, {"bits": 4, "model.embed_tokens": False},
              "embed_tokens.weight holds 4 bits, config.json says false"),
    "group": (4, {"bits": 4, "group_size": 32}, "give a group size of 64, expected 32 by config"),
    "3 bits": ({}, {"bits": 3}, "holds 4 bits, config.json says 3"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_name_both_numbers(build, mlx, tmp_path, case):
    bits, declared, says = CONTRADICTIONS[case]
    requantise(mlx / ENCODER, bits)
    quantization(mlx / ENCODER, **declared)
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1 and says in result.stderr, result.stderr


def test_a_whole_module_that_is_declared_packed(build, mlx, tmp_path):
    whole_embedding(mlx / ENCODER)
    quantization(mlx / ENCODER, bits=4, **{"model.embed_tokens": {"bits": 8}})
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1
    assert "embed_tokens.weight holds BF16, config.json says 8 bits" in result.stderr


def test_bits_that_no_kernel_takes(build, mlx, tmp_path):
    def change(tensors):
        tensors["model.embed_tokens.weight"] = ("U32", np.zeros((40, 12)))

    edit(mlx / ENCODER / "model.safetensors", change)
    quantization(mlx / ENCODER, group_size=64)
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1 and "holds 6 bits, expected 1, 2, 4 or 8" in result.stderr


@pytest.mark.parametrize("bits", [2, 8])
def test_the_folder_s_number_is_free(build, mlx, tmp_path, bits):
    requantise(mlx / ENCODER, bits)
    quantization(mlx / ENCODER, bits=bits, group_size=64)
    (mlx / ENCODER).rename(mlx / f"text_encoder-mlx-{bits}bit")
    site = built(build, mlx, tmp_path / "site")
    assert site.manifest["tensors"][f"text_encoder.{EMBED}"]["storage"] == f"affine{bits}"
    assert site.manifest["source"]["text_encoder_layout"] == "mlx-affine"


def test_of_two_folders_the_one_that_was_asked_for(build, mlx, tmp_path):
    other = mlx / "text_encoder-mlx-8bit"
    save(other / "model.safetensors", load(mlx / ENCODER / "model.safetensors"))
    (other / "config.json").write_text((mlx / ENCODER / "config.json").read_text())
    requantise(other, 8)
    quantization(other, bits=8, group_size=64)
    for options, kind in (((), "affine4"), (("--text-encoder-bits", 8), "affine8"),
                          (("--text-encoder-bits", 4), "affine4")):
        site = built(build, mlx, tmp_path / "site", *options)
        assert site.manifest["tensors"][f"text_encoder.{EMBED}"]["storage"] == kind


def test_layouts_are_known_by_their_tensors(build, tmp_path):
    """MLX's in folders of the usual names, whole ones in MLX's folders: the same bytes."""
    mlx, plain = Tiny().write(tmp_path / "mlx"), Tiny().write(tmp_path / "plain", "unpacked")
    want = {folder: built(build, folder, tmp_path / "site").manifest for folder in (mlx, plain)}
    for folder, moves in {
        mlx: {"transformer-packed-mflux": "transformer", ENCODER: "text_encoder"},
        plain: {"transformer": "transformer-packed-mflux", "text_encoder": ENCODER},
    }.items():
        for old, new in moves.items():
            (folder / old).rename(folder / new)
        got = built(build, folder, tmp_path / "again").manifest
        assert got["source"] == want[folder]["source"]
        assert got["shards"] == want[folder]["shards"]


@pytest.mark.parametrize("configured", [True, False])
def test_mlx_weights_in_a_single_file(build, tmp_path, configured):
    folder = Tiny().write(tmp_path / "tiny")
    want = shards(built(build, folder, tmp_path / "site"))
    place = folder / "transformer-packed-mflux"
    (place / "diffusion_pytorch_model.safetensors").rename(folder / "bonsai.safetensors")
    (folder / "transformer").mkdir()
    (place / "config.json").rename(folder / "transformer" / "config.json")
    if not configured:
        (folder / "transformer" / "config.json").unlink()
    assert shards(built(build, folder, tmp_path / "again")) == want


def test_groups_that_share_their_scales_become_the_usual_ones(build, tmp_path):
    """Groups of 64 made of a model in groups of 128 pack to the same bytes."""
    folder = Tiny().write(tmp_path / "tiny")
    want = shards(built(build, folder, tmp_path / "site"))
    place = folder / "transformer-packed-mflux"

    def change(tensors):
        for name in [n for n in tensors if n.endswith((".scales", ".biases"))]:
            dtype, values = tensors[name]
            tensors[name] = (dtype, np.repeat(values, 2, axis=1))

    edit(place / "diffusion_pytorch_model.safetensors", change)
    write_json(place / "quantization_config.json", {"bits": 2, "group_size": 64})
    assert shards(built(build, folder, tmp_path / "again")) == want


@pytest.mark.parametrize("group", [32, 64])
@pytest.mark.parametrize("variant", ["ternary", "binary"])
def test_packed_weights_in_other_groups(build, tmp_path, variant, group):
    tiny = Tiny(variant)
    folder = tiny.write(tmp_path / "tiny")
    place = folder / "transformer-packed-mflux"
    scales = {}

    def change(tensors):
        for name, codes in tiny.codes.items():
            shape = codes.shape[0], codes.shape[1] // group
            scales[name] = tiny.random.integers(1, 128, shape) / 256.0
            double = 2 if variant == "binary" else 1
            tensors[f"{name}.scales"] = tiny.store(double * scales[name])
            tensors[f"{name}.biases"] = tiny.store(-scales[name])

    edit(place / "diffusion_pytorch_model.safetensors", change)
    write_json(place / "quantization_config.json", {"group_size": group})
    site = built(build, folder, tmp_path / "site")
    assert site.manifest["variant"] == variant
    for name, codes in tiny.codes.items():
        entry = site.manifest["tensors"][f"transformer.{name}.weight"]
        assert (entry["storage"], entry["group"]) == (variant, group)
        sign = codes.astype(float) - 1 if variant == "ternary" else 2.0 * codes - 1
        want = np.repeat(scales[name], group, axis=1) * sign
        assert (site.weight(f"transformer.{name}.weight") == want).all()
