"""The steps of the families' samplers, over states x_sigma = (1 - sigma) x_0 + sigma noise.

A step takes the sigmas [steps + 1], the states [B, tokens, channels] passed through so far, the
velocities said at them, and fresh(step): noise of that shape where the sampler draws again.
"""

import math


def euler(sigmas, states, velocities, fresh=None):
    i = len(velocities) - 1
    return states[-1] + (sigmas[i + 1] - sigmas[i]) * velocities[-1]


def dpm_solver(sigmas, states, velocities, fresh=None, order=2):
    """DPM-Solver++ with midpoints; the first and the last step are of the first order."""
    i = len(velocities) - 1
    here, there = sigmas[i], sigmas[i + 1]
    x0 = states[-1] - here * velocities[-1]
    kept = there / here
    moved = (1 - there) - (1 - here) * kept
    following = kept * states[-1] + moved * x0
    if order == 1 or i == 0 or there == 0:
        return following
    before = states[-2] - sigmas[i - 1] * velocities[-2]
    ratio = (half_log(here) - half_log(sigmas[i - 1])) / (half_log(there) - half_log(here))
    return following + (0.5 * moved / ratio) * (x0 - before)


def half_log(sigma):
    """Half the logarithm of the signal-to-noise ratio."""
    return math.log((1 - sigma) / sigma)


def consistency(sigmas, states, velocities, fresh):
    """SCM: all the way to x_0, and back to the next sigma with fresh noise.

    In angles s a state is cos s x_0 + sin s noise; divided by cos s + sin s it is this module's, at
    sigma = sin s / (cos s + sin s).
    """
    i = len(velocities) - 1
    x0, there = states[-1] - sigmas[i] * velocities[-1], sigmas[i + 1]
    return (1 - there) * x0 + there * fresh(i + 1) if there else x0
