"""Latents to colours by one small matrix, for previews while a picture is drawn.

Fitted by least squares through the model's own decoder: smooth random latents in, the mean colour
of the pixels that each latent becomes out.
"""

import numpy as np

from export.packing.formats import widen_bf16

DIGITS = 4


def fit_colours(latents, colours):
    """{"matrix": [3][C], "bias": [3]}: colour = matrix @ latent + bias, -1 to 1.

    Lists of [N, C] and [N, 3] that belong together.
    """
    inputs = np.concatenate(latents)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
    fit = np.linalg.lstsq(inputs.astype(np.float64), np.concatenate(colours), rcond=None)[0]
    matrix = np.round(fit.T, DIGITS) + 0.0  # no negative zero
    return {"matrix": matrix[:, :-1].tolist(), "bias": matrix[:, -1].tolist()}


def reader(layout):
    """read(name): a stored tensor as f32."""

    def read(name):
        packed = layout.pack(name)
        data = packed.parts["data"]
        values = widen_bf16(data) if packed.storage.kind == "bf16" else data.astype(np.float32)
        return values.reshape(packed.storage.shape)

    return read


def block_means(pixels, side):
    """[H, W, 3] -> [H/side, W/side, 3]."""
    height, width, _ = pixels.shape
    return pixels.reshape(height // side, side, width // side, side, 3).mean(axis=(1, 3))
