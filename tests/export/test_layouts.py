"""Layouts: which storage a tensor gets, exactly, and the published models' shapes and sizes."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from export.autoencoders import kl
from export.denoisers import flux2
from export.layouts import Floats, MlxAffine, MlxPacked, Unpacked
from export.packing.formats import CODE_BITS
from export.packing.spec import LOWBIT, check_complete
from export.source.configuration import Configuration
from export.source.safetensors import Entry
from export.text_encoders import qwen3
from tests.export.packed import PackedSite
from tests.export.tiny import Tiny, as_float, edit, load, save, write_json

DIT = "transformer-packed-mflux/diffusion_pytorch_model.safetensors"
TO_Q = "transformer_blocks.0.attn.to_q"
KLEIN = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24,
         "joint_attention_dim": 7680}
QWEN3_4B = {"hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728,
            "vocab_size": 151936, "rope_theta": 1e6}


def klein():
    return flux2.read_config(Configuration("config.json", KLEIN))


def count(specs):
    return sum(math.prod(spec.shape) for spec in specs.values())


def headers(layout_class, specs, folder, bits):
    """A Checkpoint with headers only: what a published file of these specs holds."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = SimpleNamespace(folder=folder, entries={})
    for name, spec in specs.items():
        checkpoint.entries[name] = Entry(folder, "BF16", spec.shape, 0, 0)
        if (spec.role == LOWBIT or spec.is_linear) and layout_class is not Unpacked:
            rows, columns = spec.shape
            shape = (rows, columns * bits // 32)
            checkpoint.entries[name] = Entry(folder, "U32", shape, 0, 0)
            group = 128 if layout_class is MlxPacked else 64
            for part in ("scales", "biases"):
                sibling = name.removesuffix("weight") + part
                shape = (rows, columns // group)
                checkpoint.entries[sibling] = Entry(folder, "BF16", shape, 0, 0)
    return checkpoint


def header_bytes(checkpoint):
    width = {"U32": 4, "BF16": 2}
    return sum(math.prod(e.shape) * width[e.dtype] for e in checkpoint.entries.values())


@pytest.mark.parametrize(("bits", "published"), [(2, 1_425_226_752), (1, 965_164_032)])
def test_the_published_mlx_transformer(tmp_path, bits, published):
    specs = flux2.spec(klein())
    checkpoint = headers(MlxPacked, specs, tmp_path, bits)
    assert header_bytes(checkpoint) == published
    layout = MlxPacked(checkpoint, specs)
    assert layout.bits == bits
    check_complete("transformer", layout.expected(), checkpoint.entries, flux2.drop_reason(None))


def test_the_published_unpacked_transformer(tmp_path):
    specs = flux2.spec(klein())
    checkpoint = headers(Unpacked, specs, tmp_path, 16)
    assert len(checkpoint.entries) == 169
    assert header_bytes(checkpoint) == 7_751_089_152
    layout = Unpacked(checkpoint, specs)
    check_complete("transformer", layout.expected(), checkpoint.entries, flux2.drop_reason(None))


def test_klein_s_counts_and_shapes():
    specs = flux2.spec(klein())
    lowbit = {name: s for name, s in specs.items() if s.role == LOWBIT}
    assert len(lowbit) == 100 and count(lowbit) == 3_680_501_760
    assert count(specs) == 3_875_544_576
    dense = [s for s in specs.values() if s.role != LOWBIT]
    assert sorted(len(s.shape) for s in dense) == [1] * 60 + [2] * 9
    for name, shape in {
        "double_stream_modulation_img.linear": (18432, 3072),
        "single_stream_modulation.linear": (9216, 3072),
        "context_embedder": (3072, 7680),
        "norm_out.linear": (6144, 3072),
        "proj_out": (128, 3072),
        "transformer_blocks.4.ff_context.linear_in": (18432, 3072),
        "transformer_blocks.4.ff.linear_out": (3072, 9216),
        "single_transformer_blocks.19.attn.to_qkv_mlp_proj": (27648, 3072),
        "single_transformer_blocks.19.attn.to_out": (3072, 12288),
        "single_transformer_blocks.19.attn.norm_k": (128,),
    }.items():
        assert specs[f"{name}.weight"].shape == shape


def test_the_published_text_encoder(tmp_path):
    config = qwen3.read_config(Configuration("config.json", QWEN3_4B), (9, 18, 27))
    assert (config.num_hidden_layers, config.total_hidden_layers) == (27, 36)
    specs = qwen3.spec(config)
    (tmp_path / "config.json").write_text('{"quantization": {"bits": 4, "group_size": 64}}')
    checkpoint = headers(MlxAffine, specs, tmp_path, 4)
    assert header_bytes(checkpoint) == 1_751_883_264
    layout = MlxAffine(checkpoint, specs)
    assert sum(layout.storage(name).wire_bytes for name in specs) == header_bytes(checkpoint)
    drop_reason = qwen3.drop_reason(config)
    check_complete("text encoder", layout.expected(), checkpoint.entries, drop_reason)


@pytest.mark.parametrize(("values", "parameters"), [
    ({}, 49_620_259 + 256),
    ({"decoder_block_out_channels": [96, 192, 384, 384]}, 27_947_235 + 256),
])
def test_the_published_decoders(values, parameters):
    config = kl.read_config(Configuration("config.json", values))
    assert count(kl.spec(config)) == parameters
    assert config.scale_factor == 8


@pytest.mark.parametrize(("taps", "norm", "layers"), [
    ((0,), False, 0), ((1, 2), False, 2), ((3, 1), True, 3), ((3,), True, 3),
])
def test_taps_choose_the_layers(taps, norm, layers):
    values = QWEN3_4B | {"num_hidden_layers": 3}
    specs = qwen3.spec(qwen3.read_config(Configuration("config.json", values), taps))
    assert ("norm.weight" in specs) == norm
    numbers = {int(name.split(".")[1]) for name in specs if name.startswith("layers.")}
    assert numbers == set(range(layers))


def edit_json(path, **values):
    write_json(path, json.loads(path.read_text()) | values)


def built(build, folder, out, *options):
    result = build("--model", folder, "--out", out, *options)
    assert result.status == 0, result.stderr
    return PackedSite(out)


def with_biases(folder, name, biases):
    def change(t):
        t[f"{name}.biases"] = (t[f"{name}.biases"][0], biases(t[f"{name}.biases"][1]))

    edit(folder / DIT, change)


def dequantized(folder, name, bits):
    """The MLX formula on the source file: scale * code + bias, float64 [out, in]."""
    t = load(folder / DIT)
    words = t[f"{name}.weight"][1]
    codes = (words[..., None] >> np.arange(0, 32, bits, dtype=np.uint32)) & (2**bits - 1)
    scales, biases = (
        np.repeat(as_float(t[f"{name}.{part}"][1], t[f"{name}.{part}"][0]).astype(float), 128, 1)
        for part in ("scales", "biases")
    )
    return scales * codes.reshape(len(words), -1) + biases


@pytest.mark.parametrize("variant", ["ternary", "binary"])
def test_a_bias_off_by_one_bit_keeps_the_general_form(build, tmp_path, variant):
    folder = Tiny(variant).write(tmp_path / "tiny")
    with_biases(folder, TO_Q, lambda stored: stored ^ (np.arange(stored.size) == 5)[:, None])
    site = built(build, folder, tmp_path / "site")
    bits = 2 if variant == "ternary" else 1
    tensors = site.manifest["tensors"]
    assert tensors[f"transformer.{TO_Q}.weight"]["storage"] == f"affine{bits}"
    others = {t["storage"] for name, t in tensors.items()
              if "_blocks" in name and "codes" in t and TO_Q not in name}
    assert others == {variant} and site.manifest["variant"] == variant
    assert (site.weight(f"transformer.{TO_Q}.weight") == dequantized(folder, TO_Q, bits)).all()


def test_code_3_is_a_weight_of_the_general_form(build, tmp_path):
    folder = Tiny().write(tmp_path / "tiny")
    with_biases(folder, TO_Q, lambda stored: stored & 0x7FFF)

    def change(t):
        t[f"{TO_Q}.weight"] = ("U32", t[f"{TO_Q}.weight"][1] | 3)

    edit(folder / DIT, change)
    site = built(build, folder, tmp_path / "site")
    assert site.codes(f"transformer.{TO_Q}.weight").max() == 3
    assert (site.weight(f"transformer.{TO_Q}.weight") == dequantized(folder, TO_Q, 2)).all()


def test_a_binary_group_of_one_sign(build, tmp_path):
    """An affine packer gives it scale 0 and a bias: only the general form holds that."""
    folder = Tiny("binary").write(tmp_path / "tiny")

    def change(t):
        scales = t[f"{TO_Q}.scales"][1].copy()
        scales[0, 0] = 0
        t[f"{TO_Q}.scales"] = ("BF16", scales)

    edit(folder / DIT, change)
    site = built(build, folder, tmp_path / "site")
    assert site.manifest["tensors"][f"transformer.{TO_Q}.weight"]["storage"] == "affine1"
    got = site.weight(f"transformer.{TO_Q}.weight")
    assert (got == dequantized(folder, TO_Q, 1)).all() and len(set(got[0, :128])) == 1


def test_a_negative_zero_bias_is_a_derived_bias(build, tmp_path):
    folder = Tiny().write(tmp_path / "tiny")
    for zero in (0x0000, 0x8000):
        with_biases(folder, TO_Q, lambda s, zero=zero: np.where(s & 0x7FFF, s, zero))
        site = built(build, folder, tmp_path / "site")
        assert site.manifest["tensors"][f"transformer.{TO_Q}.weight"]["storage"] == "ternary"


def test_unpacked_tensors_choose_for_themselves(build, tmp_path):
    """A ternary model's tensor that happens to hold no zero has one-bit codes."""
    tiny = Tiny()
    tiny.codes[TO_Q][tiny.codes[TO_Q] == 1] = 2
    tiny.scales[TO_Q] += tiny.scales[TO_Q] == 0
    site = built(build, tiny.write(tmp_path / "tiny", "unpacked"), tmp_path / "site")
    assert site.manifest["variant"] == "ternary"
    assert site.manifest["tensors"][f"transformer.{TO_Q}.weight"]["storage"] == "binary"
    assert (site.weight(f"transformer.{TO_Q}.weight") == tiny.weights[TO_Q]).all()


def test_a_doubled_scale_that_overflows(build, tmp_path):
    tiny = Tiny("binary", "F16")
    tiny.scales[TO_Q][0, 0] = 40000
    result = build("--model", tiny.write(tmp_path / "tiny", "unpacked"), "--out", tmp_path / "s")
    assert result.status == 1 and f"{TO_Q}.weight has a scale too large for F16" in result.stderr


def test_an_eight_bit_text_encoder(build, tmp_path):
    tiny = Tiny()
    folder = tiny.write(tmp_path / "tiny")
    source = tiny.mlx_text_encoder(8)
    save(folder / "text_encoder-mlx-4bit" / "model.safetensors", source)
    edit_json(folder / "text_encoder-mlx-4bit" / "config.json", quantization={"bits": 8})
    for options in ((), ("--text-encoder-bits", 8)):
        site = built(build, folder, tmp_path / "site", *options)
        name = "embed_tokens.weight"
        assert site.manifest["tensors"][f"text_encoder.{name}"]["storage"] == "affine8"
        codes = source[f"model.{name}"][1].tobytes()
        assert site.part(f"text_encoder.{name}", "codes") == codes


def test_both_text_encoders(build, tmp_path):
    """The quantised one serves by default and for its own bits, the exact one for others."""
    folder = Tiny().write(tmp_path / "tiny", "mlx")
    Tiny().write_unpacked(folder)
    for bits, layout in ((None, "mlx-affine"), (4, "mlx-affine"), (8, "unpacked"),
                         (16, "unpacked")):
        options = ["--text-encoder-bits", bits] if bits else []
        site = built(build, folder, tmp_path / "site", *options)
        assert site.manifest["source"]["text_encoder_layout"] == layout
        kinds = {t["storage"] for name, t in site.manifest["tensors"].items()
                 if name.startswith("text_encoder") and len(t["shape"]) == 2}
        assert kinds == {"bf16" if bits == 16 else f"affine{bits or 4}"}


def test_sizes_come_from_the_configuration(tmp_path):
    """Other widths, heads, depths, axes and channels all give a spec of their own."""
    odd = flux2.read_config(Configuration("config.json", {
        "in_channels": 24, "num_layers": 0, "num_single_layers": 3, "attention_head_dim": 16,
        "num_attention_heads": 8, "joint_attention_dim": 36, "timestep_guidance_channels": 64,
        "mlp_ratio": 1.0, "axes_dims_rope": [2, 6, 6, 2], "rope_theta": 100, "eps": 1e-5,
    }))
    specs = flux2.spec(odd)
    assert specs["single_transformer_blocks.2.attn.to_qkv_mlp_proj.weight"].shape == (640, 128)
    assert not [name for name in specs if name.startswith("transformer_blocks")]
    tall = kl.read_config(Configuration("config.json", {
        "block_out_channels": [4, 4, 8, 8, 16], "latent_channels": 6, "norm_num_groups": 4,
        "layers_per_block": 0, "use_post_quant_conv": False, "mid_block_add_attention": False,
    }))
    specs = kl.spec(tall)
    assert tall.scale_factor == 16 and specs["bn.running_var"].shape == (24,)
    assert not [n for n in specs if "post_quant" in n or "attentions" in n or "resnets.2" in n]
    assert isinstance(Floats(SimpleNamespace(folder=tmp_path, entries={}), specs), Floats)
    assert {CODE_BITS[kind] for kind in CODE_BITS} == {1, 2, 4, 8}
