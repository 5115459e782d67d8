"""The sampler of Sana-Sprint, a continuous-time consistency model, in few steps.

Its times are those that diffusers' SanaSprintPipeline tells the denoiser with an SCMScheduler, as
web/models/samplers/scm.js has them: an angle s falls from MOST_ANGLE to 0, and the denoiser, which
knows flow matching, is told sin s / (sin s + cos s).
"""

import numpy as np

from export.source.meaning import refuse_unread

CLASS = "SCMScheduler"
KEYS = ("prediction_type", "num_train_timesteps", "sigma_data")
MOST_ANGLE = 1.57080  # max_timesteps, where the pipeline is told nothing
BETWEEN_STEPS = 2  # the one number of steps that takes an intermediate angle
NO_SHIFT = "none"
f32 = np.float32


def read_config(config, own, call):
    """The values that times and steps follow from: scheduler_config.json (a Configuration, or None

    for the class's own) and, of the call, the angle between two steps. Raises ExportError.
    """
    if config is not None:
        config.only("_class_name", (CLASS,), CLASS)
        config.only("prediction_type", ("trigflow",), "trigflow")
        config.integer("num_train_timesteps", 1000)  # no more steps than that
        config.number("sigma_data", 0.5)  # it cancels: noise has it, and latents are told in it
        refuse_unread(config, "scheduler")
    between = call.own.get("intermediate_timesteps")
    return {"max_timesteps": MOST_ANGLE, "intermediate_timesteps": between}


def shift_of(config):
    return NO_SHIFT


def angles(steps, config):
    """f32 [steps + 1], falling from the first to 0, evenly; two steps may have one between.

    torch.linspace counts from both ends; where its vectors are long it is off by another bit.
    """
    most, between = f32(config["max_timesteps"]), config["intermediate_timesteps"]
    if steps == BETWEEN_STEPS and between is not None:
        return np.array([most, between, 0], f32)
    step = f32(-most / f32(steps))
    count = np.arange(steps + 1, dtype=f32)
    return np.where(count < (steps + 1) // 2, most + step * count, -step * (steps - count))


def times(steps, tokens, config):
    """f32 [steps]: the times that the denoiser is told, 1 at the start."""
    exact = angles(steps, config)[:-1].astype(float)
    sines, cosines = np.sin(exact).astype(f32), np.cos(exact).astype(f32)
    return sines / (cosines + sines)
