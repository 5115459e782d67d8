"""AutoencoderKL: as AutoencoderKLFlux2, but its latents are scaled and shifted by two numbers.

Names, defaults and shapes are diffusers'. Only the decoder half is read.
"""

from export.autoencoders import kl
from export.source.configuration import show

CLASS = "AutoencoderKL"
PREFIX, ANCHORS = kl.PREFIX, kl.ANCHORS
SCALING = 0.18215  # the class's own, where nothing is said
MOST_SHIFT = 1e6

spec, image_spec, drop_reason = kl.spec, kl.image_spec, kl.drop_reason
activation_bytes, image_activation_bytes = kl.activation_bytes, kl.image_activation_bytes
streamed_layers = kl.streamed_layers


def read_config(config):
    """Configuration -> kl.AutoencoderConfig. Raises ExportError where the values do not fit."""
    config.only("_class_name", (CLASS,), CLASS)
    for key in ("latents_mean", "latents_std"):
        value = config.get(key, None)
        if value is not None:  # diffusers' FluxPipeline has no use for them
            config.fail(f"{key} is {show(value)}, expected null: latents are scaled and shifted by "
                        "scaling_factor and shift_factor alone")
    return kl.read_halves(
        config, config.integers("block_out_channels", (64,)), latent_channels=4,
        layers_per_block=1, scaling_factor=config.number("scaling_factor", SCALING),
        shift_factor=config.number("shift_factor", least=-MOST_SHIFT, most=MOST_SHIFT),
    )
