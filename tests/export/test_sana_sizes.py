"""What Clark Air takes to download, by part, from the published shapes alone."""

import math
from pathlib import Path

import pytest

from export.families.family import ENCODER, Asked
from export.families.sana import SANA, USUAL
from export.layouts.floats import channels_last
from export.packing.formats import Storage
from export.packing.model import Component, shard_bytes
from export.packing.spec import LOWBIT, VECTOR
from export.samplers import dpm_solver
from export.source.configuration import Configuration

PUBLISHED_PACKED, PUBLISHED_GEMLITE = 374e6, 495e6  # the two files of Clark Air, in bytes
PARAMETERS, TRUNK = 1_604_462_752, 1_555_456_000
GROUP = 112
CONFIGS = {  # where they differ from the defaults of the classes
    "transformer": {"sample_size": 16},
    "text_encoder": {
        "hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 9216, "vocab_size": 256000,
        "query_pre_attn_scalar": 256,
    },
    "autoencoder": {"scaling_factor": 0.41407},
}
DC = {
    "latent_channels": 32, "attention_head_dim": 32, "upsample_block_type": "interpolate",
    "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "decoder_block_types": 3 * ["ResBlock"] + 3 * ["EfficientViTBlock"],
    "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
    "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "decoder_act_fns": "silu", "decoder_norm_types": "rms_norm",
}


def opened():
    """name -> the part's configuration, and the pipeline's call."""
    values = CONFIGS | {"autoencoder": CONFIGS["autoencoder"] | DC}
    asked = Asked({"negative_prompt": ""})
    configs = {part.name: part.read_config(Configuration(Path(part.name), values[part.name]), asked)
               for part in SANA.parts}
    call = SANA.defaults(SANA.pipelines[USUAL], configs, SANA.latents(configs))
    return configs, call


def storage_of(spec, part, kind, scales):
    """A low-bit weight in groups of 112; an encoder's in four bits of 64; the rest in 16 bits."""
    if spec.role == LOWBIT:
        return Storage(kind, spec.shape, GROUP, scales)
    if part.kind == ENCODER and spec.is_linear:
        return Storage("affine4", spec.shape, 64, "bf16")
    return Storage("bf16", channels_last(spec))


def components(kind="ternary", scales="bf16"):
    configs, call = opened()
    made = {}
    for part in SANA.parts:
        specs = part.module.spec(configs[part.name])
        made[part.name] = Component(part, configs[part.name], None, specs, {
            name: storage_of(spec, part, kind, scales) for name, spec in specs.items()})
    latents = SANA.latents(configs)
    scheduler = dpm_solver.read_config(None, {}, call)
    sampler = type("Times", (), {"times": staticmethod(
        lambda steps, tokens: dpm_solver.times(steps, tokens, scheduler))})
    made["transformer"].folding = SANA.tables(configs, call, latents, sampler)
    return made


def first_bytes(component):
    return shard_bytes(component.first)


def test_the_shapes_are_the_published_ones():
    made = components()
    specs = made["transformer"].specs
    assert sum(math.prod(spec.shape) for spec in specs.values()) == PARAMETERS
    trunk = [spec for spec in specs.values() if spec.role == LOWBIT]
    # q, k and v of two attentions are one matrix and two in the original code: 140 modules.
    assert sum(math.prod(spec.shape) for spec in trunk) == TRUNK and len(trunk) == 20 * 10
    encoder = made["text_encoder"].specs.values()
    assert sum(math.prod(spec.shape) for spec in encoder) == 2_614_341_888
    decoder = made["autoencoder"].specs.values()
    assert sum(math.prod(spec.shape) for spec in decoder) == 159_223_171
    assert all(spec.role == VECTOR or len(spec.shape) > 1 for spec in specs.values())


@pytest.mark.parametrize(("kind", "scales", "most"), [
    ("ternary", "bf16", 0.375e9), ("ternary", "f32", 0.40e9), ("binary", "bf16", 0.26e9),
])
def test_the_denoiser_of_a_first_picture(kind, scales, most):
    """Codes in base 3, and no time embedding, which the tables stand for."""
    denoiser = components(kind, scales)["transformer"]
    assert first_bytes(denoiser) <= most
    later = sum(math.prod(denoiser.specs[name].shape) for name in denoiser.folding.projections)
    assert later > 35e6 and denoiser.on_demand_bytes > 2 * later
    if kind == "ternary":
        assert first_bytes(denoiser) < (
            PUBLISHED_PACKED if scales == "bf16" else PUBLISHED_GEMLITE)


def test_the_whole_download():
    made = components()
    assert made["text_encoder"].packed_bytes < 1.48e9 and made["autoencoder"].packed_bytes < 0.32e9
    assert sum(map(first_bytes, made.values())) + 5e6 <= 2.2e9  # with a tokenizer of 5 MB at most
