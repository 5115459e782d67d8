"""Flow Euler for pipelines that name a number of steps and no sigmas, as Sana's does.

The grid is then FlowMatchEulerDiscreteScheduler's own: even between the ends of its training
schedule, which it shifts when it is made, and shifted as a whole when the steps are known; so its
ends are shifted twice. web/models/samplers/flow_euler.js has the same.
"""

import numpy as np

from export.samplers.flow_euler import CLASS, KEYS, MOST_SHIFT
from export.source.meaning import refuse_unread

TWICE = "twice"
SHIFT = 3.0  # Sana's, where there is no file; the class's own is 1
OFF = ("use_dynamic_shifting", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
       "invert_sigmas", "stochastic_sampling")
f32 = np.float32


def read_config(config, own, call):
    """The values that times and steps follow from, of scheduler_config.json (a Configuration).

    Without a file `config` is None, and the values are Sana's. Raises ExportError for settings that
    the runtime does not implement.
    """
    if config is None:
        return {"num_train_timesteps": 1000, "shift": SHIFT}
    config.only("_class_name", (CLASS,), CLASS)
    for key in OFF:
        config.only(key, (False,), False)
    config.only("shift_terminal", (None,), None)
    for key in KEYS:  # those that are not read here are of dynamic shifting
        config.get(key, None)
    values = {
        "num_train_timesteps": config.integer("num_train_timesteps", 1000, least=2),
        "shift": config.number("shift", 1.0, most=MOST_SHIFT),
    }
    refuse_unread(config, "scheduler")
    return values


def shift_of(config):
    return TWICE


def shifted(sigma, shift, exact):
    """sigma towards noise, with every step in the arithmetic of `exact`, a float type."""
    sigma, shift, more = exact(sigma), exact(shift), exact(shift - 1)
    return shift * sigma / (exact(1) + more * sigma)


def sigmas(steps, tokens, config):
    """f32 [steps + 1], falling to a final 0, whatever the number of tokens."""
    train, shift = config["num_train_timesteps"], config["shift"]
    ends = [float(shifted(f32(end) / f32(train), shift, f32)) * train for end in (train, 1)]
    even = np.linspace(*ends, steps) / train
    return np.append(shifted(even, shift, np.float64), 0).astype(f32)


def times(steps, tokens, config):
    """f32 [steps]: the times that the denoiser is told."""
    return sigmas(steps, tokens, config)[:-1] * f32(config["num_train_timesteps"])
