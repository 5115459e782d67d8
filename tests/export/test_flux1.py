"""FLUX.1's denoiser at export: configuration, tensors, names that no config.json stands beside."""

import math
from types import SimpleNamespace

import pytest

from export.denoisers import flux1
from export.errors import ExportError
from export.packing.spec import LOWBIT, VECTOR
from export.source.configuration import Configuration

PUBLISHED = {  # config.json, parameters as diffusers counts them
    "dev": ({"guidance_embeds": True}, 11_901_408_320),
    "schnell": ({"guidance_embeds": False}, 11_891_178_560),
}
LOWBIT_WEIGHTS = 11_834_228_736
TINY = {"num_attention_heads": 4, "attention_head_dim": 16, "axes_dims_rope": [4, 6, 6],
        "num_layers": 1, "num_single_layers": 1}


def read(**values):
    return flux1.read_config(Configuration("config.json", values))


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_tensors_of_a_published_model(case):
    values, parameters = PUBLISHED[case]
    specs = flux1.spec(read(**values))
    assert sum(math.prod(spec.shape) for spec in specs.values()) == parameters
    lowbit = {name: spec for name, spec in specs.items() if spec.role == LOWBIT}
    assert len(lowbit) == 14 * 19 + 6 * 38
    assert sum(math.prod(spec.shape) for spec in lowbit.values()) == LOWBIT_WEIGHTS
    assert {name for name in specs if name.endswith(".bias") or ".attn.norm_" in name} == {
        name for name, spec in specs.items() if spec.role == VECTOR}
    cuts = {name: spec.cut for name, spec in specs.items() if spec.cut}
    assert cuts == {f"single_transformer_blocks.{i}.proj_out.weight": 3072 for i in range(38)}


@pytest.mark.parametrize("case", PUBLISHED)
def test_a_file_that_stands_alone_tells_its_configuration(case):
    c = read(**PUBLISHED[case][0])
    entries = {name: SimpleNamespace(shape=spec.shape) for name, spec in flux1.spec(c).items()}
    checkpoint = SimpleNamespace(entries=entries)
    assert read(**flux1.derive_config("flux1.safetensors", checkpoint)) == c
    del entries["time_text_embed.text_embedder.linear_1.weight"]
    with pytest.raises(ExportError, match=r"flux1\.safetensors: .* not those of a FLUX.1"):
        flux1.derive_config("flux1.safetensors", checkpoint)


@pytest.mark.parametrize("values, words", [
    ({"_class_name": "Flux2Transformer2DModel"}, "_class_name is 'Flux2Transformer2DModel'"),
    ({"patch_size": 2}, "patch_size is 2"),
    ({"in_channels": 384, "out_channels": 64}, "out_channels is 64, expected in_channels 384"),
    ({"attention_head_dim": 64}, r"axes_dims_rope \[16, 56, 56\] sums to 128, expected .* 64"),
    ({"axes_dims_rope": [15, 57, 56]}, r"\[15, 57, 56\], expected 3 even numbers"),
    ({"axes_dims_rope": [64, 64]}, r"\[64, 64\], expected 3 even numbers"),
    ({"attention_head_dim": 30, "axes_dims_rope": [10, 10, 10]}, "attention_head_dim is 30"),
    (TINY | {"num_attention_heads": 6}, "width is 6 heads x 16 = 96, expected a multiple of 64"),
    ({"pooled_projection_dim": 770}, "pooled_projection_dim is 770, expected a multiple of 4"),
    ({"num_layers": 0, "num_single_layers": 0}, "both 0, expected at least one block"),
    ({"guidance_embeds": 1}, "guidance_embeds is 1, expected true or false"),
    ({"mlp_ratio": 3.0}, "mlp_ratio is 3.0, a key that this version does not know"),
])
def test_a_configuration_that_is_not_drawn_is_refused(values, words):
    with pytest.raises(ExportError, match=words):
        read(**values)


def test_every_key_of_the_class_is_read():
    """Those of diffusers' own, at other values than its defaults; and what the class fixes."""
    c = read(**TINY, patch_size=1, in_channels=16, out_channels=None, joint_attention_dim=40,
             pooled_projection_dim=24, guidance_embeds=True)
    assert c.manifest() == {
        "in_channels": 16, "out_channels": 16, "num_layers": 1, "num_single_layers": 1,
        "attention_head_dim": 16, "num_attention_heads": 4, "joint_attention_dim": 40,
        "pooled_projection_dim": 24, "guidance_embeds": True, "axes_dims_rope": (4, 6, 6),
        "mlp_hidden": 256, "timestep_channels": 256, "rope_theta": 10000, "eps": 1e-6,
    }
