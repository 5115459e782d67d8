"""AutoencoderKL as FLUX.1 has it: its published configuration, and what of others is refused."""

import math

import pytest

from export.autoencoders import kl_scaled
from export.errors import ExportError
from export.source.configuration import Configuration

FLUX1 = {
    "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True, "in_channels": 3,
    "latent_channels": 16, "latents_mean": None, "latents_std": None, "layers_per_block": 2,
    "mid_block_add_attention": True, "norm_num_groups": 32, "out_channels": 3, "sample_size": 1024,
    "scaling_factor": 0.3611, "shift_factor": 0.1159, "up_block_types": ["UpDecoderBlock2D"] * 4,
    "use_post_quant_conv": False, "use_quant_conv": False,
}


def read(**change):
    values = {key: value for key, value in (FLUX1 | change).items() if value != "absent"}
    return kl_scaled.read_config(Configuration("config.json", values))


def test_the_published_decoder():
    config = read()
    specs = kl_scaled.spec(config)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == 49_545_475
    assert not [name for name in specs if name.startswith(("bn.", "encoder.", "post_quant_conv."))]
    assert specs["decoder.conv_in.weight"].shape == (512, 16, 3, 3)
    assert config.scale_factor == 8 and kl_scaled.image_spec(config) == {}
    told = config.manifest()
    assert (told["scaling_factor"], told["shift_factor"]) == (0.3611, 0.1159)
    assert "batch_norm_eps" not in told


def test_what_is_absent_is_diffusers_own():
    config = read(**dict.fromkeys(("scaling_factor", "latent_channels", "layers_per_block",
                                   "norm_num_groups", "use_post_quant_conv"), "absent"))
    assert (config.scaling_factor, config.latent_channels) == (0.18215, 4)
    assert (config.layers_per_block, config.norm_num_groups) == (1, 32)
    assert "post_quant_conv.weight" in kl_scaled.spec(config)


@pytest.mark.parametrize("change, told", [
    ({"_class_name": "AutoencoderKLFlux2"}, "_class_name is 'AutoencoderKLFlux2'"),
    ({"latents_mean": [0.1] * 16}, r"latents_mean is \[0.1.*expected null"),
    ({"shift_factor": "absent"}, "shift_factor"),
    ({"scaling_factor": 0}, "scaling_factor is 0, expected a number above zero"),
    ({"up_block_types": ["UpDecoderBlock2D"] * 3}, "expected 4 x UpDecoderBlock2D"),
    ({"norm_num_groups": 24}, "128 channels, expected a multiple of norm_num_groups 24"),
    ({"something": 3}, "something is 3, a key that this version does not know"),
])
def test_what_is_refused(change, told):
    with pytest.raises(ExportError, match=told):
        read(**change)
