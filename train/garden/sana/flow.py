"""Trains the transformer and the text encoder together by flow matching, as ../flow.py does.

Times are sigmas of 0 to 1, which Sana-Sprint's sampler also gives to the network.
"""

import time
from pathlib import Path

import torch

from .. import loop
from ..flow import Samples, flow_loss
from ..precision import training_dtype
from .networks import Networks, is_hidden
from .tokenizer import tokenize

RATES = 3e-3, 1.5e-3    # Muon, Adam
SHIFT = 3.              # of the sigmas, as SanaPipeline's schedulers have it


def shifted(u):
    """Sigma at place u (1 first, 0 last) of the sampler's schedule."""
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def samples_of(work):
    return Samples(Path(work), tokenize, shifted)


def start(seed=0):
    """Untrained networks and their Run."""
    torch.manual_seed(seed)
    networks = Networks(training_dtype())
    return networks, loop.Run(networks.parameters(), RATES, is_hidden)


def train(rank, workers, work, seconds, size):
    """Train for `seconds` of the process's own time in all, `size` samples a step."""
    samples = samples_of(work)
    networks, run = start()

    @torch.no_grad()
    def validate():
        return flow_loss(networks, *samples.held_out()).item()

    loop.fit(run, "flow", work, seconds, rank,
             lambda step: flow_loss(networks, *samples.batch(size, step * workers + rank)),
             validate, time.process_time)
