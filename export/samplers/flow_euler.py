"""The sampler's timesteps, to the last bit of web/models/samplers/flow_euler.js and diffusers.

Flow matching with FLUX.2's empirical shift, in the float32 steps of diffusers'
FlowMatchEulerDiscreteScheduler. FLUX.1's is in flow_euler_dynamic.py.
"""

import math

import numpy as np

from export.source.meaning import refuse_unread

CLASS = "FlowMatchEulerDiscreteScheduler"
DEFAULTS = {"shift": 1.0, "use_dynamic_shifting": False}  # the class's, of absent keys
# Used by FLUX.1's dynamic shift alone: FLUX.2's follows an empirical fit.
NUMBERS, COUNTS = ("base_shift", "max_shift"), ("base_image_seq_len", "max_image_seq_len")
KEYS = (  # of the class's configuration
    *DEFAULTS, *NUMBERS, *COUNTS, "num_train_timesteps", "shift_terminal", "time_shift_type",
    "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas",
    "stochastic_sampling",
)
MOST_SHIFT = 1e6
EMPIRICAL, STATIC = "empirical", "static"  # kinds of shifts
f32 = np.float32


def read_config(config, own, call):
    """The values of scheduler_config.json (a Configuration), by the keys of `own`.

    Without a file `config` is None, and the values are the family's `own`. Raises ExportError for
    settings that the runtime does not implement.
    """
    if config is None:
        return own
    config.only("_class_name", (CLASS,), CLASS)
    values = {key: read_setting(config, key, value) for key, value in own.items()}
    refuse_unread(config, "scheduler")
    return values


def read_setting(config, key, own):
    """One value of scheduler_config.json. Of most the runtime has only the family's own."""
    default = DEFAULTS.get(key, own)
    if key == "use_dynamic_shifting":
        return config.flag(key, default)
    if key == "shift":
        return config.number(key, default, most=MOST_SHIFT)
    if key in COUNTS:
        return config.integer(key, default)
    if key in NUMBERS:
        return config.number(key, default, least=-MOST_SHIFT, most=MOST_SHIFT)
    return config.only(key, (own,), default)


def shift_of(config):
    """Which of the kinds the times are shifted by."""
    return EMPIRICAL if config["use_dynamic_shifting"] else STATIC


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


def sigmas(steps, tokens, config):
    """f32 [steps + 1], falling from 1 to a final 0; config: scheduler_config.json."""
    dynamic = shift_of(config) == EMPIRICAL
    return shifted(steps, config, empirical_mu(tokens, steps) if dynamic else None)


def shifted(steps, config, mu):
    """As sigmas: shifted by exp(mu), or where that is None by the configuration's `shift`."""
    even = np.linspace(1.0, 1 / steps, steps).astype(f32)
    if mu is None:
        shift = config["shift"]
        values = shift * even / (1 + (shift - 1) * even)
    else:
        shift = f32(math.exp(mu))
        values = shift / (shift + (1 / even - 1))
    return np.append(values, f32(0))


def times(steps, tokens, config):
    """f32 [steps]: the times that the denoiser is told."""
    return told(sigmas(steps, tokens, config))


def told(values):
    """The times of sigmas [steps + 1]: diffusers hands over 1000 sigma / 1000, and the denoiser

    multiplies by 1000 again.
    """
    return f32(1000) * values[:-1] / f32(1000) * f32(1000)
