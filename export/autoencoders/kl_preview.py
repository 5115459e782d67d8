"""The colours of the latents of AutoencoderKLFlux2 and AutoencoderKL, for previews."""

import numpy as np

from export.autoencoders.kl_decoder import Decoder
from export.autoencoders.preview import block_means, fit_colours, reader

TOKENS = 8  # along a side of a random picture
CELL = 2  # tokens along a side that have one value: what a decoder makes of large areas counts
PICTURES = 3
PREVIEW_CELL = 2  # pixels of a preview along a side of a token


def fit_preview(component):
    """{"matrix": [3][C], "bias": [3], "cell"}: colour = matrix @ latent + bias, -1 to 1.

    `component` is the autoencoder; C its latent channels, their normalisation undone.
    """
    config = component.config
    read = reader(component.layout)
    mean, deviation = statistics(config, read)
    decoder, random = Decoder(config, read), np.random.default_rng(0)
    latents, colours = [], []
    for _ in range(PICTURES):
        tokens = smooth_tokens(random, config.latent_channels)
        z = unpatchify(tokens * deviation + mean)
        pixels = np.nan_to_num(np.clip(decoder.decode(z), -1, 1))  # a fit must not stop a build
        latents.append(z.reshape(-1, config.latent_channels))
        colours.append(block_means(pixels, len(pixels) // len(z)).reshape(-1, 3))
    return fit_colours(latents, colours) | {"cell": PREVIEW_CELL}


def statistics(config, read):
    """(mean, deviation) of the latents that a denoiser's are made of, f32 [4C] or numbers."""
    if config.batch_norm_eps is None:
        return np.float32(config.shift_factor), np.float32(1 / config.scaling_factor)
    variance = read("bn.running_var") + np.float32(config.batch_norm_eps)
    return read("bn.running_mean"), np.sqrt(np.maximum(variance, 0))


def smooth_tokens(random, channels):
    """Normalised tokens [TOKENS, TOKENS, 4 * channels], equal in each cell, N(0, 1)."""
    cells = random.standard_normal((TOKENS // CELL, TOKENS // CELL, channels), np.float32)
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1).repeat(4, axis=2)


def unpatchify(tokens):
    """[h, w, 4C], channel 4c + 2dy + dx -> [2h, 2w, C]."""
    height, width, channels = tokens.shape
    parts = tokens.reshape(height, width, channels // 4, 2, 2)
    return parts.transpose(0, 3, 1, 4, 2).reshape(2 * height, 2 * width, channels // 4)
