"""Latents to colours by one small matrix, for previews while a picture is drawn.

Fitted by least squares through the model's own decoder: smooth random latents in, the mean colour
of the pixels that each latent becomes out.
"""

import numpy as np

from export.autoencoders.kl_decoder import Decoder
from export.packing.formats import widen_bf16

TOKENS = 8  # along a side of a random picture
CELL = 2  # tokens along a side that have one value: what a decoder makes of large areas counts
PICTURES = 3
DIGITS = 4
PREVIEW_CELL = 2  # pixels of a preview along a side of a token


def fit_preview(component):
    """{"matrix": [3][C], "bias": [3], "cell"}: colour = matrix @ latent + bias, -1 to 1.

    `component` is the autoencoder; C its latent channels, batch norm undone.
    """
    config = component.config
    read = reader(component.layout)
    mean = read("bn.running_mean")
    variance = read("bn.running_var") + np.float32(config.batch_norm_eps)
    deviation = np.sqrt(np.maximum(variance, 0))
    decoder, random = Decoder(config, read), np.random.default_rng(0)
    latents, colours = [], []
    for _ in range(PICTURES):
        tokens = smooth_tokens(random, config.latent_channels)
        z = unpatchify(tokens * deviation + mean)
        pixels = np.nan_to_num(np.clip(decoder.decode(z), -1, 1))  # a fit must not stop a build
        latents.append(z.reshape(-1, config.latent_channels))
        colours.append(block_means(pixels, len(pixels) // len(z)).reshape(-1, 3))
    inputs = np.concatenate(latents)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
    fit = np.linalg.lstsq(inputs.astype(np.float64), np.concatenate(colours), rcond=None)[0]
    matrix = np.round(fit.T, DIGITS) + 0.0  # no negative zero
    return {"matrix": matrix[:, :-1].tolist(), "bias": matrix[:, -1].tolist(),
            "cell": PREVIEW_CELL}


def reader(layout):
    """read(name): a stored tensor as f32."""

    def read(name):
        packed = layout.pack(name)
        data = packed.parts["data"]
        values = widen_bf16(data) if packed.storage.kind == "bf16" else data.astype(np.float32)
        return values.reshape(packed.storage.shape)

    return read


def smooth_tokens(random, channels):
    """Normalised tokens [TOKENS, TOKENS, 4 * channels], equal in each cell, N(0, 1)."""
    cells = random.standard_normal((TOKENS // CELL, TOKENS // CELL, channels), np.float32)
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1).repeat(4, axis=2)


def unpatchify(tokens):
    """[h, w, 4C], channel 4c + 2dy + dx -> [2h, 2w, C]."""
    height, width, channels = tokens.shape
    parts = tokens.reshape(height, width, channels // 4, 2, 2)
    return parts.transpose(0, 3, 1, 4, 2).reshape(2 * height, 2 * width, channels // 4)


def block_means(pixels, side):
    """[H, W, 3] -> [H/side, W/side, 3]."""
    height, width, _ = pixels.shape
    return pixels.reshape(height // side, side, width // side, side, 3).mean(axis=(1, 3))
