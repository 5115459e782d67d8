"""Trains the transformer and the text encoder together by flow matching.

x_sigma = (1 - sigma) x0 + sigma noise, velocity = noise - x0, with sigma spread as the sampler
spreads it.
"""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from transformers import AutoTokenizer

from . import architecture, loop
from .caption import caption
from .checkpoint import load_latest
from .dataset import Latents
from .networks import Networks
from .precision import training_dtype
from .scene import random_scene
from .tokenizer import tokenize

HELD_OUT = 128          # last scenes of the latents file: validation only
RATES = 3e-3, 1.5e-3    # Muon, Adam
STEPS = 4               # of the sampler
EMPTY = .1              # chance of an empty caption, whose velocity guidance needs


def shifted(u, steps=STEPS):
    """Sigma at place u (1 first, 0 last) of the sampler's schedule of `steps` steps."""
    shift = math.exp(compute_empirical_mu(architecture.LATENT_SIDE ** 2, steps))
    return shift * u / (1 + (shift - 1) * u)


def sample_sigmas(count, rng, spread=shifted):
    """Stratified sigmas f32 [count] with the density of the sampler's own schedule."""
    u = (rng.permutation(count) + rng.random(count)) / count
    return torch.from_numpy(spread(u)).float()


def flow_loss(networks, latents, ids, mask, sigmas, noise):
    """Mean squared velocity error; latents and noise f32 [B, 64 tokens, channels]."""
    velocity = networks.velocity(mix(latents, noise, sigmas), sigmas, networks.encode(ids, mask))
    return (velocity.float() - (noise - latents)).square().mean()


def mix(latents, noise, sigmas):
    """x_sigma [B, T, C] for sigmas [B]."""
    return latents + sigmas[:, None, None] * (noise - latents)


class Samples:
    """The training samples of a working folder; tokenize(tokenizer, prompts) gives ids and mask."""

    def __init__(self, work, tokenize=tokenize, spread=shifted):
        self.latents = Latents(work / "latents.npy", load_latest(work, "statistics"))
        self.tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
        self.spread, self._tokenize = spread, tokenize

    def tokenize(self, prompts):
        return self._tokenize(self.tokenizer, prompts)

    def batch(self, size, seed, first=0, last=None):
        """Latents [B, 64, C], ids and mask [B, 40], sigmas [B], noise [B, 64, C] of a seed."""
        rng = np.random.default_rng((seed, 4))
        indices = np.sort(rng.integers(first, last or len(self.latents) - HELD_OUT, size=size))
        prompts = [caption(random_scene(int(index)), rng) for index in indices]
        prompts = ["" if rng.random() < EMPTY else prompt for prompt in prompts]
        chosen = self.latents.tokens(indices)
        noise = torch.from_numpy(rng.standard_normal(chosen.shape, np.float32))
        return chosen, *self.tokenize(prompts), sample_sigmas(size, rng, self.spread), noise

    def held_out(self):
        """A fixed batch of scenes, captions, sigmas and noise that training never sees."""
        count = len(self.latents)
        return self.batch(HELD_OUT, 999_999_999, count - HELD_OUT, count)


def train(rank, workers, work, seconds, size):
    """Train for `seconds` of wall clock in all, `size` samples a step in each process."""
    torch.manual_seed(0)
    samples = Samples(Path(work))
    networks = Networks(training_dtype())
    networks.compile()

    @torch.no_grad()
    def validate():
        with torch.compiler.set_stance("force_eager"):
            return flow_loss(networks, *samples.held_out()).item()

    loop.fit(loop.Run(networks.parameters(), RATES), "flow", work, seconds, rank,
             lambda step: flow_loss(networks, *samples.batch(size, step * workers + rank)),
             validate)
