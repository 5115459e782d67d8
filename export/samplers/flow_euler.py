"""The sampler's timesteps, to the last bit of web/models/samplers/flow_euler.js and diffusers.

Flow matching with FLUX.2's empirical shift, in the float32 steps of diffusers'
FlowMatchEulerDiscreteScheduler.
"""

import math

import numpy as np

f32 = np.float32


def empirical_mu(tokens, steps):
    """The shift: a line in the image tokens, blended between its fits for 10 and 200 steps.

    Source: compute_empirical_mu of diffusers' Flux2KleinPipeline.
    """
    at_200 = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return at_200
    at_10 = 8.73809524e-05 * tokens + 1.89833333
    slope = (at_200 - at_10) / 190
    return slope * steps + at_200 - 200 * slope


def sigmas(steps, tokens, scheduler):
    """f32 [steps + 1], falling from 1 to a final 0; scheduler: scheduler_config.json."""
    even = np.linspace(1.0, 1 / steps, steps).astype(f32)
    if scheduler["use_dynamic_shifting"]:
        shift = f32(math.exp(empirical_mu(tokens, steps)))
        shifted = shift / (shift + (1 / even - 1))
    else:
        shift = scheduler["shift"]
        shifted = shift * even / (1 + (shift - 1) * even)
    return np.append(shifted, f32(0))


def timesteps(steps, tokens, scheduler):
    """f32 [steps]: the times that the denoiser is told.

    diffusers hands over 1000 sigma / 1000, and the denoiser multiplies by 1000 again.
    """
    return f32(1000) * sigmas(steps, tokens, scheduler)[:-1] / f32(1000) * f32(1000)
