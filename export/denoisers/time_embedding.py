"""What timesteps are told to a denoiser as, and what is made of that at export."""

import math

import numpy as np

from export.source.safetensors import widen

CHUNK_VALUES = 1 << 22  # weights are widened to float64 this many at a time
f32 = np.float32


def waves(moments, channels):
    """[cos, sin] of timestep * 10000^(-i / half), float64 [T, channels].

    The angles are rounded to float32 where diffusers and
    web/models/denoisers/time_embedding.js round them.
    """
    half = channels // 2
    exponents = f32(-math.log(10000)) * np.arange(half, dtype=f32) / f32(half)
    frequencies = np.exp(exponents.astype(float)).astype(f32)
    angles = (moments[:, None] * frequencies).astype(float)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(f32).astype(float)


def project(x, weight, dtype):
    """x [T, K] . weight [N, K]^T in float64, in chunks of rows of the weight."""
    step = max(1, CHUNK_VALUES // weight.shape[1])
    chunks = (weight[row : row + step] for row in range(0, len(weight), step))
    return np.concatenate([x @ widen(chunk, dtype).astype(float).T for chunk in chunks], axis=1)


def silu(x):
    return x * (0.5 + 0.5 * np.tanh(0.5 * x))
