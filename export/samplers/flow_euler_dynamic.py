"""Flow Euler with FLUX.1's shift, which a line in the number of image tokens gives.

Where the scheduler's configuration says that the shift is not dynamic, it is static, as
flow_euler.py has it. web/models/samplers/flow_euler.js has the same.
"""

from export.samplers import flow_euler
from export.samplers.flow_euler import CLASS, KEYS, STATIC, shifted, told

DYNAMIC = "dynamic"
MOST_MU = 80  # exp of it is a float32
MOST_TOKENS = 1 << 16  # of 4096 x 4096 pixels

__all__ = ["CLASS", "DYNAMIC", "KEYS", "linear_mu", "read_config", "shift_of", "sigmas", "times"]


def read_config(config, own, call):
    """As flow_euler's; the line must be one, and its shifts numbers that float32 has."""
    values = flow_euler.read_config(config, own, call)
    if config is None or shift_of(values) == STATIC:
        return values
    least, most = values["base_image_seq_len"], values["max_image_seq_len"]
    if least == most:
        config.fail(f"base_image_seq_len and max_image_seq_len are both {least}, expected two "
                    "numbers of tokens")
    steepest = max(abs(linear_mu(tokens, values)) for tokens in (1, MOST_TOKENS))
    if steepest > MOST_MU:
        config.fail(f"base_shift {values['base_shift']} at {least} tokens and max_shift "
                    f"{values['max_shift']} at {most} shift large pictures by exp({steepest:.0f}), "
                    f"expected at most exp({MOST_MU})")
    return values


def shift_of(config):
    """Which of the kinds the times are shifted by."""
    return STATIC if flow_euler.shift_of(config) == STATIC else DYNAMIC


def linear_mu(tokens, config):
    """The shift: from base_shift at base_image_seq_len tokens to max_shift at max_image_seq_len.

    Source: calculate_shift of diffusers' FluxPipeline.
    """
    least, most = config["base_image_seq_len"], config["max_image_seq_len"]
    slope = (config["max_shift"] - config["base_shift"]) / (most - least)
    return tokens * slope + (config["base_shift"] - slope * least)


def sigmas(steps, tokens, config):
    """f32 [steps + 1], falling from 1 to a final 0; config: scheduler_config.json."""
    dynamic = shift_of(config) == DYNAMIC
    return shifted(steps, config, linear_mu(tokens, config) if dynamic else None)


def times(steps, tokens, config):
    """f32 [steps]: the times that the denoiser is told."""
    return told(sigmas(steps, tokens, config))
