"""Sana's denoiser at export: configuration, tensors, and the tables of its folded schedule."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from export.denoisers import sana
from export.denoisers.sana_tables import TABLE_STEPS, plan_folding
from export.errors import ExportError
from export.families.call import MOST_STEPS, Call, Guidance
from export.layouts.floats import pack_dense
from export.packing.formats import Packed, Storage
from export.packing.spec import DEPTHWISE, LOWBIT, ROWS, VECTOR
from export.source.configuration import Configuration

SMALL = {"num_attention_heads": 36, "num_cross_attention_heads": 16,
         "cross_attention_head_dim": 72, "cross_attention_dim": 1152, "num_layers": 28}
NEWER = {"qk_norm": "rms_norm_across_heads"}
SPRINT = NEWER | {"guidance_embeds": True}
PUBLISHED = {  # config.json, parameters as diffusers counts them
    "Sana 1.6B": ({}, 1_604_462_752),
    "Sana 0.6B": (SMALL, 591_747_872),
    "Sprint 1.6B": (SPRINT, 1_610_237_472),
    "Sprint 0.6B": (SMALL | SPRINT, 593_501_216),
}
TINY = {"num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 32,
        "num_cross_attention_heads": 2, "cross_attention_head_dim": 16, "num_layers": 1}


def read(**values):
    return sana.read_config(Configuration("config.json", values))


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_tensors_of_a_published_model(case):
    values, parameters = PUBLISHED[case]
    c = read(**values)
    specs = sana.spec(c)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == parameters
    lowbit = [name for name, spec in specs.items() if spec.role == LOWBIT]
    assert len(lowbit) == 10 * c.num_layers and all(".attn" in n or ".ff." in n for n in lowbit)
    assert not [name for name, spec in specs.items() if spec.role == ROWS]
    assert all(spec.role == VECTOR for name, spec in specs.items() if name.endswith(".bias"))


@pytest.mark.parametrize("case", PUBLISHED)
def test_a_file_that_stands_alone_tells_its_configuration(case):
    c = read(**PUBLISHED[case][0])
    entries = {}
    for name, spec in sana.spec(c).items():
        convolution = ".ff.conv_" in name and len(spec.shape) == 2
        entries[name] = SimpleNamespace(shape=spec.shape + (1, 1) * convolution)
    derived = sana.derive_config("sana.safetensors", SimpleNamespace(entries=entries))
    assert read(**derived) == c
    entries["patch_embed.proj.weight"] = SimpleNamespace(shape=(64, 32, 1, 1))
    with pytest.raises(ExportError, match=r"published widths \[1152, 2240\]"):
        sana.derive_config("sana.safetensors", SimpleNamespace(entries=entries))


@pytest.mark.parametrize("values, words", [
    ({"_class_name": "FluxTransformer2DModel"}, "_class_name is 'FluxTransformer2DModel'"),
    ({"patch_size": 2}, "patch_size is 2"),
    ({"norm_elementwise_affine": True}, "norm_elementwise_affine is True"),
    ({"qk_norm": "rms_norm"}, "qk_norm is 'rms_norm'"),
    ({"cross_attention_dim": 1152}, "cross_attention_dim is 1152, .* only with 2240"),
    ({"out_channels": 64}, "out_channels is 64, expected in_channels 32"),
    ({"attention_head_dim": 112, "num_attention_heads": 20}, "attention_head_dim is 112"),
    ({"in_channels": 6, "out_channels": 6}, "in_channels is 6, expected a multiple of 4"),
    ({"mlp_ratio": 2.501}, "the MLP width is 5602, expected a multiple of 16"),
    ({"num_cross_attention_heads": 21, "cross_attention_head_dim": 20},
     "width of cross-attention is 420"),
    ({"interpolation_scale": 0}, "interpolation_scale is 0"),
    ({"rotary": True}, "rotary is True, a key that this version does not know"),
])
def test_a_configuration_that_is_not_drawn_is_refused(values, words):
    with pytest.raises(ExportError, match=words):
        read(**values)


def test_every_key_of_the_class_is_read():
    """Those of diffusers' own, at values that are not its defaults."""
    c = read(**TINY, in_channels=16, out_channels=None, caption_channels=40, mlp_ratio=4,
             dropout=0.1, attention_bias=True, sample_size=64, patch_size=1, norm_eps=1e-5,
             norm_elementwise_affine=False, interpolation_scale=2, guidance_embeds=False,
             guidance_embeds_scale=0.3, qk_norm=None, timestep_scale=10.0)
    assert (c.out_channels, c.mlp_hidden, c.width, c.cross_width) == (16, 128, 32, 32)
    assert (c.sample_size, c.interpolation_scale, c.timestep_scale) == (64, 2, 10)
    specs = sana.spec(c)
    assert specs["transformer_blocks.0.attn1.to_q.bias"].shape == (32,)
    assert specs["transformer_blocks.0.ff.conv_depth.weight"].role == DEPTHWISE
    told = read(**TINY, guidance_embeds=True, timestep_scale=1000.0)
    assert told.timestep_scale == 1  # the pipeline that embeds guidance does not scale its times


def call(steps, *sizes, guidance=4.5):
    sizes = [list(size) for size in sizes]
    return Call(steps, 300, *sizes[0], sizes=sizes, guidance=Guidance("cfg", guidance, True))


def whole(steps, tokens):
    return np.linspace(999, 9, steps).round()


def test_tables_hold_for_any_size_where_times_do():
    assert TABLE_STEPS == MOST_STEPS
    folding = plan_folding(read(), call(20, (512, 512), (1024, 512)), 32, whole)
    first = folding.manifest("transformer")["tables"][0]
    assert first == {"steps": 20, "tensor": "transformer.folded.20"}
    assert [len(table.timesteps) for table in folding.tables] == [
        20, *(n for n in range(1, TABLE_STEPS + 1) if n != 20)]
    assert folding.tables[0].storage.wire_bytes == 20 * 8 * 2240 * 4
    by_size = plan_folding(read(), call(20, (512, 512), (1024, 512)), 32,
                           lambda steps, tokens: whole(steps, tokens) - tokens / 1024)
    tables = by_size.manifest("transformer")["tables"]
    assert tables[0] == {"tokens": 256, "steps": 20, "tensor": "transformer.folded.256.20"}
    assert {table["tokens"] for table in tables} == {256, 512}


def test_an_embedded_guidance_is_the_table_s():
    folding = plan_folding(read(**SPRINT), call(2, (1024, 1024), guidance=3.5), 32,
                           lambda steps, tokens: np.linspace(1, 0.2, steps))
    entry = folding.manifest("transformer")["tables"][0]
    assert entry == {"guidance": 3.5, "steps": 2, "tensor": "transformer.folded.2"}
    assert "time_embed.guidance_embedder.linear_2.bias" in folding.projections
    assert folding.projections[-1] == "scale_shift_table"


@pytest.mark.parametrize("guided", [False, True])
def test_a_table_holds_the_modulations(guided):
    """Against the formulas, written out in float64."""
    c = read(**TINY, guidance_embeds=guided, guidance_embeds_scale=0.1)
    folding = plan_folding(c, call(3, (64, 64)), 32, whole)
    random = np.random.default_rng(1)
    specs = sana.spec(c)
    source = {name: random.normal(0, 0.1, specs[name].shape).astype("<f4")
              for name in folding.projections}
    computer = folding.computer()
    for name in folding.projections:
        packed = Packed(Storage("f32", specs[name].shape), {"data": source[name]})
        computer.take(name, packed)
    rows = computer.table(folding.tables[0])

    def linear(name, x):
        weight, bias = (source[f"time_embed.{name}.{part}"].astype(float)
                        for part in ("weight", "bias"))
        return weight @ x + bias

    def embed(name, value):
        angles = value * np.exp(-math.log(10000) * np.arange(128) / 128)
        x = linear(f"{name}.linear_1", np.concatenate([np.cos(angles), np.sin(angles)]))
        return linear(f"{name}.linear_2", x / (1 + np.exp(-x)))

    for time, row in zip(whole(3, 4), rows, strict=True):
        e = embed("timestep_embedder" if guided else "emb.timestep_embedder", time)
        e = e + (embed("guidance_embedder", 0.45) if guided else 0)
        last = source["scale_shift_table"].astype(float) + e
        want = np.concatenate([linear("linear", e / (1 + np.exp(-e))), last.reshape(-1)])
        assert np.linalg.norm(row - want) <= 1e-4 * np.linalg.norm(want)


def test_a_depth_wise_convolution_is_stored_by_tap():
    data = np.arange(6 * 9, dtype="<f4").reshape(6, 1, 3, 3)
    tensor = SimpleNamespace(dtype="F32", data=data)
    checkpoint = SimpleNamespace(read_finite=lambda name: tensor)
    packed = pack_dense(checkpoint, "w", sana.Spec((6, 1, 3, 3), DEPTHWISE))
    assert packed.storage.shape == (3, 3, 6)
    assert (packed.parts["data"].astype("<u4") << 16).view("<f4")[1, 2].tolist() == [
        5, 14, 23, 32, 41, 50]
