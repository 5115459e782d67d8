"""AutoencoderDC's configuration: every key of the decoder is drawn with, or refused by name."""

import math

import pytest

from export.autoencoders import dc
from export.errors import ExportError
from export.packing.spec import VECTOR
from export.source.configuration import Configuration

RES, VIT = "ResBlock", "EfficientViTBlock"
SANA = {  # dc-ae-f32c32-sana-1.0 and 1.1, as diffusers writes it
    "_class_name": "AutoencoderDC", "_diffusers_version": "0.32.0.dev0", "in_channels": 3,
    "latent_channels": 32, "attention_head_dim": 32, "scaling_factor": 0.41407,
    "decoder_block_types": [RES] * 3 + [VIT] * 3, "encoder_block_types": [RES] * 3 + [VIT] * 3,
    "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
    "encoder_layers_per_block": [2, 2, 2, 3, 3, 3],
    "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "decoder_norm_types": "rms_norm", "decoder_act_fns": "silu",
    "upsample_block_type": "interpolate", "downsample_block_type": "conv",
}


def read(**changes):
    values = {key: value for key, value in (SANA | changes).items() if value is not None}
    return dc.read_config(Configuration("vae/config.json", values))


def test_sana_s_own():
    c = read()
    specs = dc.spec(c)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == 159_223_171
    assert specs["decoder.up_blocks.4.1.attn.to_qkv_multiscale.0.proj_in.weight"].shape == (
        3072, 1, 5, 5)
    assert specs["decoder.up_blocks.5.0.conv_out.conv_inverted.weight"].shape == (8192, 1024, 1, 1)
    assert c.scale_factor == 32 and c.manifest()["qkv_multiscales"][5] == (5,)
    assert dc.image_spec(c) == {}
    assert dc.drop_reason(c)("encoder.conv_in.weight")
    assert dc.drop_reason(c)("decoder.conv_in.weight") is None


def test_what_is_left_out_has_diffusers_defaults():
    c = read(**dict.fromkeys(set(SANA) - {"_class_name"}))
    assert c == dc.AutoencoderConfig(
        latent_channels=32, attention_head_dim=32, block_types=(RES,) * 6,
        block_out_channels=(128, 256, 512, 512, 1024, 1024), layers_per_block=(3,) * 6,
        qkv_multiscales=((), (), (), (5,), (5,), (5,)), act_fns=("silu",) * 6, conv_act_fn="relu",
        upsample_block_type="pixel_shuffle", in_shortcut=True, scaling_factor=1.0)


def test_a_shortcut_that_is_null_is_none():
    values = SANA | {"decoder_in_shortcut": None}
    assert not dc.read_config(Configuration("vae/config.json", values)).in_shortcut


def test_no_block_at_the_pixels():
    """The last convolution doubles the sides, and takes what the stage before has."""
    specs = dc.spec(read(decoder_layers_per_block=[0, 5, 3, 3, 3, 0]))
    gone = "decoder.up_blocks.0", "decoder.up_blocks.5"
    assert not any(name.startswith(gone) for name in specs)
    assert specs["decoder.norm_out.weight"].shape == (256,)
    assert specs["decoder.conv_out.conv.weight"].shape == (3, 256, 3, 3)


def test_squares_of_pixels_from_channels():
    specs = dc.spec(read(upsample_block_type="pixel_shuffle"))
    assert specs["decoder.up_blocks.0.0.conv.weight"].shape == (512, 256, 3, 3)


@pytest.mark.parametrize("scales", [[], [3], [3, 5, 7]])
def test_scales(scales):
    """Each has its depth-wise and its grouped convolution, and its columns of to_out."""
    specs = dc.spec(read(decoder_qkv_multiscales=[[], [], [], scales, [5], [5]]))
    name = "decoder.up_blocks.3.1.attn"
    own = [spec for key, spec in specs.items() if key.startswith(f"{name}.to_qkv_multiscale")]
    assert [spec.shape[-1] for spec in own[::2]] == scales
    assert [(spec.shape, spec.role) for spec in own[1::2]] == [
        ((1536, 32, 1, 1), VECTOR)] * len(scales)
    assert specs[f"{name}.to_out.weight"].shape == (512, 512 * (1 + len(scales)))


@pytest.mark.parametrize("key, value, words", [
    ("_class_name", "AutoencoderKL", "'AutoencoderDC'"),
    ("in_channels", 4, "in_channels is 4"),
    ("decoder_block_types", [RES] * 5 + ["SanaBlock"], "ResBlock or EfficientViTBlock"),
    ("decoder_block_types", [RES] * 5, "each of the 6 stages"),
    ("decoder_norm_types", "batch_norm", "decoder_norm_types is 'batch_norm'"),
    ("decoder_norm_types", ["rms_norm"] * 5 + ["layer_norm"], "only with rms_norm"),
    ("decoder_act_fns", "gelu", "silu or swish or relu"),
    ("decoder_conv_act_fn", "mish", "decoder_conv_act_fn is 'mish'"),
    ("upsample_block_type", "bicubic", "'interpolate' or 'pixel_shuffle'"),
    ("decoder_layers_per_block", [3, 3, 0, 3, 3, 3], "every stage but the first and the last"),
    ("decoder_layers_per_block", [3, 3, 3], "has 3 stages"),
    ("decoder_qkv_multiscales", [[], [], [], [4], [5], [5]], "odd numbers"),
    ("decoder_qkv_multiscales", [5, 5], "odd numbers"),
    ("decoder_qkv_multiscales", [[5]], "has 1 stages"),
    ("encoder_block_out_channels", [128, 256], "has 2 stages"),
    ("attention_head_dim", 30, "multiple of 4 up to 64"),
    ("attention_head_dim", 128, "multiple of 4 up to 64"),
    ("latent_channels", 48, "latent_channels 48"),
    ("decoder_block_out_channels", [96, 256, 512, 512, 1024, 1024], "4 x 96 is no multiple"),
    ("decoder_in_shortcut", "yes", "decoder_in_shortcut is 'yes'"),
    ("scaling_factor", 0, "scaling_factor is 0"),
    ("decoder_out_norm", "rms", "a key that this version does not know"),
])
def test_what_is_refused(key, value, words):
    with pytest.raises(ExportError, match="vae/config.json") as refusal:
        read(**{key: value})
    assert words in str(refusal.value)


def test_other_keys_of_the_encoder_change_nothing():
    changed = read(encoder_block_types=RES, encoder_layers_per_block=[1] * 6,
                   encoder_qkv_multiscales=[[]] * 6, encoder_out_shortcut=False,
                   downsample_block_type="pixel_unshuffle")
    assert changed == read()


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (800, 1248)])
def test_memory_grows_with_what_is_drawn(size):
    width, height = size
    wider = dc.decoding_bytes(read(), width + 64, height)
    assert dc.decoding_bytes(read(), width, height) < wider
