"""Teaches the trained flow to draw in four steps, guided.

The sampler's last step of four goes from sigma 0.7 to 0 at once, where the flow's own velocity
points at the mean of all pictures that could be there. Here the transformer learns the mean
velocity over the whole step instead: the way that the frozen flow takes there in smaller steps
(progressive distillation, Salimans and Ho 2022, with a frozen teacher). That flow is guided away
from what it would draw without a prompt (classifier-free guidance, Ho and Salimans 2021), so the
student follows prompts as the guided flow does, at one evaluation a step (Meng et al. 2023), as
Klein's published weights do. The steps in between, which the sampler takes when it is asked for
eight, are learned a little as well.
"""

from pathlib import Path

import numpy as np
import torch

from . import loop
from .checkpoint import load_latest
from .flow import Samples, mix, shifted
from .networks import Networks
from .precision import training_dtype

RATES = 8e-4, 4e-4      # Muon, Adam
# Place of a step in the schedule of four (u, from 1 to 0), its span, and how often it is taught:
# the more, the more the picture depends on it.
STEPS = np.array([(1, .25, .1), (.75, .25, .15), (.5, .25, .2), (.25, .25, .4),
                  (.875, .125, .03), (.625, .125, .03), (.375, .125, .04), (.125, .125, .05)])
SMALLER = 2             # steps of the flow for one of the student's
GUIDANCE = 3.           # 1 is the flow as it is


def guided_velocity(flow, noisy, sigmas, embeddings, empty):
    """The flow's velocity f32 [B, T, C], led from the empty caption's towards the prompt's."""
    named = flow.velocity(noisy, sigmas, embeddings).float()
    unnamed = flow.velocity(noisy, sigmas, empty).float()
    return unnamed + GUIDANCE * (named - unnamed)


@torch.no_grad()
def mean_velocity(flow, noisy, start, span, embeddings, empty):
    """The guided flow's mean velocity [B, T, C] from places `start` [B] down by `span` [B]."""
    place = torch.from_numpy(start)
    state, first = noisy, shifted(place).float()
    for _ in range(SMALLER):
        below = (place - torch.from_numpy(span) / SMALLER).clamp(min=0)
        sigma, next_sigma = shifted(place).float(), shifted(below).float()
        velocity = guided_velocity(flow, state, sigma, embeddings, empty)
        state = state + (next_sigma - sigma)[:, None, None] * velocity
        place = below
    return (state - noisy) / (next_sigma - first)[:, None, None]


def distil_loss(flow, student, latents, ids, mask, noise, empty, rng):
    """Mean squared error of the student's velocity against the guided flow's mean one.

    `empty` holds the ids and the mask [1, 40] of the empty caption.
    """
    chosen = STEPS[rng.choice(len(STEPS), len(latents), p=STEPS[:, 2])]
    start, span = chosen[:, 0], chosen[:, 1]
    sigmas = shifted(torch.from_numpy(start)).float()
    noisy = mix(latents, noise, sigmas)
    with torch.no_grad():
        embeddings, unnamed = flow.encode(ids, mask), flow.encode(*empty)
    wanted = mean_velocity(flow, noisy, start, span, embeddings, unnamed.expand_as(embeddings))
    return (student.velocity(noisy, sigmas, embeddings).float() - wanted).square().mean()


def train(rank, workers, work, seconds, size):
    """Train for `seconds` of wall clock in all, `size` samples a step in each process."""
    torch.manual_seed(0)
    samples = Samples(Path(work))
    trained = load_latest(work, "flow")["average"]
    empty = samples.tokenize([""])
    flow, student = Networks(training_dtype()), Networks(training_dtype())
    for networks in (flow, student):
        for name, parameter in networks.parameters().items():
            parameter.detach().copy_(trained[name])
        networks.compile()
    parameters = {name: p for name, p in student.parameters().items()
                  if name.startswith("transformer.")}
    run = loop.Run(parameters, RATES)
    for tensors in (run.masters, run.average):      # f32, before the rounding to bf16
        for name, tensor in tensors.items():
            tensor.detach().copy_(trained[name])

    def loss_of(batch, seed):
        latents, ids, mask, _, noise = batch
        return distil_loss(flow, student, latents, ids, mask, noise, empty,
                           np.random.default_rng((seed, 6)))

    @torch.no_grad()
    def validate():
        with torch.compiler.set_stance("force_eager"):
            return loss_of(samples.held_out(), 0).item()

    def loss_at(step):
        seed = step * workers + rank + 100_000_000
        return loss_of(samples.batch(size, seed), seed)

    loop.fit(run, "distil", work, seconds, rank, loss_at, validate)
