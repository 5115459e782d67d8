"""The colours of AutoencoderDC's latents, for previews."""

import numpy as np

from export.autoencoders.dc_decoder import Decoder
from export.autoencoders.preview import block_means, fit_colours, reader

LATENTS = 7  # along a side of a random picture
PICTURES = 2
PREVIEW_CELL = 1  # pixels of a preview along a side of a latent


def fit_preview(component):
    """{"matrix": [3][C], "bias": [3], "cell"}: colour = matrix @ latent + bias, -1 to 1.

    `component` is the autoencoder; latents as the decoder takes them, divided by scaling_factor.
    """
    config = component.config
    decoder, random = Decoder(config, reader(component.layout)), np.random.default_rng(0)
    latents, colours = [], []
    for _ in range(PICTURES):
        z = smooth_latents(random, config)
        pixels = np.nan_to_num(np.clip(decoder.decode(z), -1, 1))  # a fit must not stop a build
        latents.append(z.reshape(-1, config.latent_channels))
        colours.append(block_means(pixels, config.scale_factor).reshape(-1, 3))
    return fit_colours(latents, colours) | {"cell": PREVIEW_CELL}


def smooth_latents(random, config):
    """[LATENTS, LATENTS, C], N(0, 1) over scaling_factor; neighbours have half in common, since

    what a decoder makes of large areas counts.
    """
    noise = random.standard_normal((LATENTS + 1, LATENTS + 1, config.latent_channels), np.float32)
    z = (noise[1:, 1:] + noise[1:, :-1] + noise[:-1, 1:] + noise[:-1, :-1]) / np.float32(2)
    return z / np.float32(config.scaling_factor)
