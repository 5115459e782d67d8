"""DPM-Solver++ of the second order on flow sigmas, as web/models/samplers/dpm_solver.js has it.

Its timesteps are those of diffusers' DPMSolverMultistepScheduler, whole numbers; the arithmetic is
float64 until a sigma is rounded to float32.
"""

import numpy as np

from export.samplers.flow_euler import MOST_SHIFT, STATIC
from export.source.meaning import refuse_unread

CLASS = "DPMSolverMultistepScheduler"
SHIFT = 3.0  # Sana's, where there is no file; the class's own is 1
MOST_TIMESTEPS = 100_000
ONLY = {  # key -> what is drawn with, the class's value of an absent key
    "use_flow_sigmas": (True, False),
    "prediction_type": ("flow_prediction", "epsilon"),
    "algorithm_type": ("dpmsolver++", "dpmsolver++"),
    "solver_type": ("midpoint", "midpoint"),
    "final_sigmas_type": ("zero", "zero"),
    "thresholding": (False, False),
    "use_karras_sigmas": (False, False),
    "use_exponential_sigmas": (False, False),
    "use_beta_sigmas": (False, False),
    "use_lu_lambdas": (False, False),
    "use_dynamic_shifting": (False, False),
}
# What these say is of the betas, of thresholds, or of a last step that ends above zero; flow
# sigmas that end at zero, in steps of at most the second order, have none of it.
WITHOUT_EFFECT = (
    "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
    "lambda_min_clipped", "timestep_spacing", "steps_offset", "variance_type",
    "dynamic_thresholding_ratio", "sample_max_value", "lower_order_final", "euler_at_final",
    "time_shift_type",
)
KEYS = (*ONLY, *WITHOUT_EFFECT, "num_train_timesteps", "flow_shift", "solver_order")
f32 = np.float32


def read_config(config, own, call):
    """The values that times and steps follow from, of scheduler_config.json (a Configuration).

    Without a file `config` is None, and the values are Sana's. Raises ExportError for settings that
    the runtime does not implement.
    """
    if config is None:
        return {"num_train_timesteps": 1000, "flow_shift": SHIFT, "solver_order": 2}
    config.only("_class_name", (CLASS,), CLASS)
    for key, (drawn, absent) in ONLY.items():
        config.only(key, (drawn,), absent)
    for key in WITHOUT_EFFECT:
        config.get(key, None)
    values = {
        "num_train_timesteps": config.integer("num_train_timesteps", 1000, least=2,
                                              most=MOST_TIMESTEPS),
        "flow_shift": config.number("flow_shift", 1.0, most=MOST_SHIFT),
        "solver_order": config.only("solver_order", (1, 2), 2),
    }
    refuse_unread(config, "scheduler")
    return values


def shift_of(config):
    return STATIC


def exact_sigmas(steps, config):
    """float64 [steps], falling: flow sigmas shifted towards noise, the final 0 left out."""
    even = 1 - np.linspace(1, 1 / config["num_train_timesteps"], steps + 1)
    shift = config["flow_shift"]
    return np.flip(shift * even / (1 + (shift - 1) * even))[:-1]


def sigmas(steps, tokens, config):
    """f32 [steps + 1], falling to a final 0, whatever the number of tokens."""
    return np.append(exact_sigmas(steps, config), 0).astype(f32)


def times(steps, tokens, config):
    """f32 [steps]: the times that the denoiser is told, cut to whole numbers."""
    return np.trunc(exact_sigmas(steps, config) * config["num_train_timesteps"]).astype(f32)
