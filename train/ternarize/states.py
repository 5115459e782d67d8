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

RENOISED, TRAJECTORY, ROLLOUT = "re-noised", "trajectory", "rollout"
TRAJECTORY_SHARE = ROLLOUT_SHARE = 0.2
ROLLOUTS_FROM = 0.5  # of the run
ON_SCHEDULE = 0.5    # share of the re-noised states at a sigma that the model draws with
JITTER = 0.02        # standard deviation of the logarithm of such a sigma
NEGATIVE_SHARE = 0.2  # of samples that read the negative prompt, with classifier-free guidance
USUAL_GUIDANCE = 0.5  # share of samples that are told the pipeline's own embedded guidance
STAGE_NUMBER = {"train": 1, "finish": 2, "reconstruct": 3}


@dataclass
class Sample:
    kind: str
    row: int          # of the trajectories
    step: int         # of the schedule, for trajectory and rollout
    sigma: float
    noise: np.ndarray | None = None
    negative: bool = False          # reads the negative prompt
    guidance: float | None = None   # that is embedded, where there is one


@dataclass
class Batch:
    states: torch.Tensor    # f32 [B, tokens, channels]
    sigmas: torch.Tensor    # f32 [B]
    contexts: dict          # name -> [B, ...], of the student's text encoders
    wanted: dict            # the same, of the teacher's

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
    sample = Sample(kind, row, at, float(family.sigmas[at]))
    if kind == ROLLOUT:
        sample.step, sample.sigma = depth, float(family.sigmas[depth])
    if kind == RENOISED:
        sample.sigma = sample_sigma(family.sigmas, at, own)
        sample.noise = own.standard_normal(family.state_shape, np.float32)
    if family.negative_prompt is not None:
        sample.negative = bool(own.random() < NEGATIVE_SHARE)
    if family.guidance.kind == "embedded":
        sample.guidance = sample_guidance(family.guidance.scale, own)
    return sample


def sample_guidance(usual, random):
    """Half of them the pipeline's own, half spread evenly over 1 to twice as much."""
    if random.random() < USUAL_GUIDANCE:
        return usual
    return 1 + (max(2 * usual, 1) - 1) * random.random()


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
        reached = trajectories.roll(student, [rows[i] for i in chosen], depth)[-1]
        for place, i in enumerate(own):
            states[i] = reached[place]
    sigmas = torch.tensor([sample.sigma for sample in samples], device=states.device)
    negative = [sample.negative for sample in samples]
    contexts = [trajectories.context(rows, teacher, negative) for teacher in (False, True)]
    if family.guidance.kind == "embedded":
        told = torch.tensor([s.guidance or family.guidance.scale for s in samples],
                            dtype=torch.float32, device=states.device)
        contexts = [context | {"guidance": told} for context in contexts]
    return Batch(states, sigmas, *contexts)
