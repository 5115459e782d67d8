"""Where the student is taught: three kinds of states, none of them pure noise at a low sigma.

    re-noised    60 %   (1 - sigma) x_0 + sigma noise, x_0 what the teacher drew
    trajectory   20 %   a state that the teacher passed through
    rollout      20 %   a state that the student itself reached from the teacher's noise, so that it
                        learns to correct its own errors; only in the last half, re-noised before

Everything about sample i of step n follows from (seed, stage, n, i), whichever process computes it.
"""

from dataclasses import dataclass

import numpy as np
import torch

from train.ternarize import processes
from train.ternarize.trajectories import roll

RENOISED, TRAJECTORY, ROLLOUT = "re-noised", "trajectory", "rollout"
TRAJECTORY_SHARE = ROLLOUT_SHARE = 0.2
ROLLOUTS_FROM = 0.5  # of the run
ON_SCHEDULE = 0.5    # share of the re-noised states at a sigma that the model draws with
JITTER = 0.02        # standard deviation of the logarithm of such a sigma
STAGE_NUMBER = {"train": 1, "finish": 2, "reconstruct": 3}


@dataclass
class Sample:
    kind: str
    row: int          # of the trajectories
    step: int         # of the schedule, for trajectory and rollout
    sigma: float
    noise: np.ndarray | None = None


@dataclass
class Batch:
    states: torch.Tensor    # f32 [B, tokens, channels]
    sigmas: torch.Tensor    # f32 [B]
    contexts: torch.Tensor  # [B, text tokens, width], of the student's text encoder
    wanted: torch.Tensor    # the same, of the teacher's

    def inputs(self, teacher=False):
        """What the family's velocity takes after the transformer."""
        return self.states, self.sigmas, self.wanted if teacher else self.contexts


def kinds(batch, offset, rollouts):
    """The kinds of a step's samples, in their shares exactly; offset in 0..1 settles the rests."""
    places = (np.arange(batch) + offset) / batch
    limit = 1 - ROLLOUT_SHARE if rollouts else 1
    return [ROLLOUT if p >= limit else TRAJECTORY if p >= limit - TRAJECTORY_SHARE else RENOISED
            for p in places]


def plan(settings, stage, step, fraction, family, rows, mine):
    """The Samples with numbers `mine` of a step, and its rollouts' depth, 0 when it has none.

    rows: how many trajectories to choose from. All rollouts of a step are equally long, so that
    processes stay in step.
    """
    steps = len(family.sigmas) - 1
    shared = np.random.default_rng((settings.seed, STAGE_NUMBER[stage], step))
    offset, depth = shared.random(), 1 + int(shared.integers(max(steps - 1, 1)))
    rollouts = fraction >= ROLLOUTS_FROM and steps > 1
    chosen = kinds(settings.batch, offset, rollouts)
    samples = [plan_sample(settings, stage, step, i, chosen[i], depth, family, rows) for i in mine]
    return samples, depth if ROLLOUT in chosen else 0


def plan_sample(settings, stage, step, i, kind, depth, family, rows):
    own = np.random.default_rng((settings.seed, STAGE_NUMBER[stage], step, i))
    row, at = int(own.integers(rows)), int(own.integers(len(family.sigmas) - 1))
    if kind == ROLLOUT:
        return Sample(kind, row, depth, float(family.sigmas[depth]))
    if kind == TRAJECTORY:
        return Sample(kind, row, at, float(family.sigmas[at]))
    sigma = sample_sigma(family.sigmas, at, own)
    return Sample(kind, row, at, sigma, own.standard_normal(family.state_shape, np.float32))


def sample_sigma(sigmas, at, random):
    """Half of them close to the schedule's number `at`; half anywhere, as the schedule is dense.

    The schedule is linear in its own index, so a place between two of its entries is
    interpolated; below its last entry above 0 the density stays that of the last interval.
    """
    if random.random() < ON_SCHEDULE:
        return min(1.0, float(sigmas[at]) * float(np.exp(JITTER * random.standard_normal())))
    place = random.random() * (len(sigmas) - 1)
    return float(np.interp(place, np.arange(len(sigmas)), sigmas.numpy()))


def assemble(samples, depth, family, trajectories, student):
    """The Batch of planned samples; the student takes `depth` steps for its rollouts."""
    rows = [sample.row for sample in samples]
    context = trajectories.context(rows)
    states = trajectories.state(rows, [sample.step for sample in samples])
    for i, sample in enumerate(samples):
        if sample.kind == RENOISED:
            x0 = trajectories.state([sample.row], -1)[0]
            noise = torch.from_numpy(sample.noise).to(x0)
            states[i] = (1 - sample.sigma) * x0 + sample.sigma * noise
    own = [i for i, sample in enumerate(samples) if sample.kind == ROLLOUT]
    if own or (depth and processes.count() > 1):
        # A process without a rollout computes one for nothing: all must take part in each call.
        chosen = own or [0]
        noise = trajectories.state([rows[i] for i in chosen], 0)
        reached = roll(family, student, noise, context[chosen], depth)[-1]
        for place, i in enumerate(own):
            states[i] = reached[place]
    sigmas = torch.tensor([sample.sigma for sample in samples], device=states.device)
    return Batch(states, sigmas, context, trajectories.context(rows, teacher=True))
