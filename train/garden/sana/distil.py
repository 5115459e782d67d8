"""Teaches the trained flow to draw in two steps, guided, as Sana-Sprint's SCM sampler draws.

The sampler asks at few times for the clean picture: from pure noise, then from that picture with
new noise on it. The transformer learns, at the times of one, two and four steps, the picture at
which the frozen flow arrives from there in smaller steps, guided away from the empty caption by a
scale that the transformer is told. So it is consistent along the flow's ways (Song et al. 2023)
with targets from the flow itself and not from its own guesses, which a small network learns in
hours.

Times are SCM's angles s of 0 to pi/2: x_s = cos(s) x0 + sin(s) noise.
"""

import math
import time

import numpy as np
import torch

from .. import loop
from ..checkpoint import load_latest
from ..precision import training_dtype
from .flow import samples_of
from .networks import Networks, guided_name, is_hidden

RATES = 8e-4, 4e-4      # Muon, Adam
MOST = math.pi / 2      # the angle of pure noise
BETWEEN = 1.1           # the angle between two steps
# An angle from which the sampler asks for the picture, and how often it is taught.
ANGLES = np.array([(MOST, .4), (BETWEEN, .35), (.75 * MOST, .08), (.5 * MOST, .09),
                   (.25 * MOST, .08)])
GUIDANCE = 1.5, 5.      # least, most
STEPS = 4               # of the flow, on the way to the picture


def to_sigma(angle):
    """The flow's sigma of an angle: x_sigma is x_s / (sin s + cos s)."""
    return torch.sin(angle) / (torch.sin(angle) + torch.cos(angle))


def noised(latents, noise, angle):
    """x_s [B, T, C] for angles [B]."""
    angle = angle[:, None, None]
    return torch.cos(angle) * latents + torch.sin(angle) * noise


def clean(networks, state, angle, context, guidance=None):
    """The picture f32 [B, T, C] at which a network aims from x_s, as SanaSprintPipeline and its
    SCMScheduler compute it: x0 = cos(s) x_s - sin(s) dx_s/ds."""
    sigma = to_sigma(angle)
    wide, size = sigma[:, None, None], torch.hypot(sigma, 1 - sigma)[:, None, None]
    scaled = state * size
    velocity = networks.velocity(scaled, sigma, context, guidance).float()
    way = ((1 - 2 * wide) * scaled + (1 - 2 * wide + 2 * wide ** 2) * velocity) / size
    return torch.cos(angle)[:, None, None] * state - torch.sin(angle)[:, None, None] * way


@torch.no_grad()
def arrival(flow, state, angle, context, empty, guidance):
    """Where the guided flow arrives from x_s, f32 [B, T, C]: Heun's steps, the last one Euler's."""
    def velocity(noisy, sigma):
        named = flow.velocity(noisy, sigma, context).float()
        unnamed = flow.velocity(noisy, sigma, empty).float()
        return unnamed + guidance[:, None, None] * (named - unnamed)

    first = to_sigma(angle)
    state = state * torch.hypot(first, 1 - first)[:, None, None]
    step = (-first / STEPS)[:, None, None]
    for left in range(STEPS, 0, -1):
        there = velocity(state, first * left / STEPS)
        if left > 1:
            further = velocity(state + step * there, first * (left - 1) / STEPS)
            there = (there + further) / 2
        state = state + step * there
    return state


def distil_loss(flow, student, latents, ids, mask, noise, empty, rng):
    """Mean squared error of the student's picture against the guided flow's.

    `empty` holds the ids and the mask [1, 40] of the empty caption.
    """
    count = len(latents)
    angle = torch.from_numpy(rng.choice(ANGLES[:, 0], count, p=ANGLES[:, 1])).float()
    guidance = torch.from_numpy(rng.uniform(*GUIDANCE, count)).float()
    state = noised(latents, noise, angle)
    with torch.no_grad():
        context, unnamed = flow.encode(ids, mask), flow.encode(*empty).expand(count)
    wanted = arrival(flow, state, angle, context, unnamed, guidance)
    return (clean(student, state, angle, context, guidance) - wanted).square().mean()


def start(work, seed=0):
    """The frozen flow, the student that begins as it, and the student's Run."""
    torch.manual_seed(seed)
    trained = load_latest(work, "flow")["average"]
    flow, student = Networks(training_dtype()), Networks(training_dtype(), guided=True)
    with torch.no_grad():
        for name, parameter in flow.parameters().items():
            parameter.copy_(trained[name])
        own = student.parameters()
        for name, tensor in trained.items():
            own[guided_name(name)].copy_(tensor)
    parameters = {name: p for name, p in own.items() if name.startswith("transformer.")}
    run = loop.Run(parameters, RATES, is_hidden)
    for tensors in (run.masters, run.average):      # f32, before the rounding to bf16
        for name, tensor in trained.items():
            if name.startswith("transformer."):
                tensors[guided_name(name)].detach().copy_(tensor)
    return flow, student, run


def train(rank, workers, work, seconds, size):
    """Train for `seconds` of the process's own time in all, `size` samples a step."""
    samples = samples_of(work)
    flow, student, run = start(work)
    empty = samples.tokenize([""])

    def loss_of(batch, seed):
        latents, ids, mask, _, noise = batch
        return distil_loss(flow, student, latents, ids, mask, noise, empty,
                           np.random.default_rng((seed, 6)))

    @torch.no_grad()
    def validate():
        return loss_of(samples.held_out(), 0).item()

    def loss_at(step):
        seed = step * workers + rank + 100_000_000
        return loss_of(samples.batch(size, seed), seed)

    loop.fit(run, "distil", work, seconds, rank, loss_at, validate, time.process_time)
