"""The training loop of transformer and text encoder; see denoiser.py for what is trained.

Everything random in step n comes from n alone, so a resumed run continues as if never stopped.
The schedule runs over wall clock, because that is what the machine gives.
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from .caption import caption
from .checkpoint import load_latest, save
from .denoiser import EMA_DECAY, Latents, Networks, Rounding, flow_loss, sample_sigmas, storage
from .muon import Muon
from .parallel import agree, average_gradients
from .scene import random_scene
from .tokenizer import tokenize

HELD_OUT = 128          # last scenes of the latents file: validation only
SAVE_SECONDS = 180
PRINT_STEPS = 25
MUON_RATE, ADAM_RATE = 3e-3, 1.5e-3


def rate_at(fraction):
    """Warm-up over 2 %, constant to 45 %, then a cosine to 2 % of the peak."""
    way = max(0, (min(fraction, 1) - .45) / .55)
    return min(fraction / .02, 1) * (.02 + .98 * (1 + math.cos(math.pi * way)) / 2)


def split_parameters(masters):
    """Names for Muon (hidden matrices) and for Adam (embeddings, modulations, norms, ends)."""
    hidden = [name for name, p in masters.items() if p.ndim == 2 and "embed" not in name
              and (name.startswith("text_encoder.") or storage(name, p) == "ternary")]
    return hidden, [name for name in masters if name not in hidden]


class Run:
    """Masters, their moving average and the optimisers: all that a checkpoint holds."""

    def __init__(self, parameters):
        self.masters = {name: torch.nn.Parameter(p.detach().float().clone())
                        for name, p in parameters.items()}
        self.average = {name: p.detach().clone() for name, p in self.masters.items()}
        hidden, rest = split_parameters(self.masters)
        self.optimisers = [
            Muon([self.masters[name] for name in hidden], MUON_RATE),
            torch.optim.AdamW([self.masters[name] for name in rest], ADAM_RATE,
                              betas=(.9, .98), weight_decay=0, foreach=True)]
        self.peaks = (MUON_RATE, ADAM_RATE)
        self.step, self.seconds = 0, 0.0

    def state(self):
        return {"masters": {n: p.detach() for n, p in self.masters.items()},
                "average": self.average, "step": self.step, "seconds": self.seconds,
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}

    @torch.no_grad()
    def restore(self, state):
        for name, parameter in self.masters.items():
            parameter.copy_(state["masters"][name])
        self.average = state["average"]
        self.step, self.seconds = state["step"], state["seconds"]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def update(self, parameters, fraction):
        """One optimiser step from the gradients of the computing parameters."""
        for name, master in self.masters.items():
            gradient = parameters[name].grad
            master.grad = None if gradient is None else gradient.float()
            parameters[name].grad = None
        average_gradients(self.masters.values())
        for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate_at(fraction + 1e-3)
            optimiser.step()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()),
                             [p.detach() for p in self.masters.values()], 1 - decay)


def batch(latents, tokenizer, size, seed, first=0, last=None):
    """Latents [B, 64, 64], ids and mask [B, 32], sigmas [B], noise [B, 64, 64] of one seed."""
    rng = np.random.default_rng((seed, 4))
    indices = np.sort(rng.integers(first, last or len(latents) - HELD_OUT, size=size))
    prompts = [caption(random_scene(int(index)), rng) for index in indices]
    chosen = latents.tokens(indices)
    noise = torch.from_numpy(rng.standard_normal(chosen.shape, np.float32))
    return chosen, *tokenize(tokenizer, prompts), sample_sigmas(size, rng), noise


@torch.no_grad()
def validate(networks, latents, tokenizer):
    """Loss on fixed held-out scenes, captions, sigmas and noise."""
    count = len(latents)
    samples = batch(latents, tokenizer, HELD_OUT, 999_999_999, count - HELD_OUT, count)
    with torch.compiler.set_stance("force_eager"):
        return flow_loss(networks, *samples).item()


def train(rank, workers, work, seconds, size):
    """Train for `seconds` of wall clock in all, `size` samples a step in each process."""
    torch.manual_seed(0)
    work = Path(work)
    networks, rounding = Networks(torch.bfloat16), Rounding()
    parameters = networks.parameters()
    networks.compile()
    run = Run(parameters)
    if (state := load_latest(work, "denoiser")) is not None:
        run.restore(state)
        del state
    latents = Latents(work / "latents.npy", load_latest(work, "statistics"))
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    before, start, saved_at, losses = run.seconds, time.time(), time.time(), []
    while (elapsed := agree(before + time.time() - start)) < seconds:
        fraction = elapsed / seconds
        rounding.load(parameters, run.masters, run.step, fraction)
        loss = flow_loss(networks, *batch(latents, tokenizer, size, run.step * workers + rank))
        loss.backward()
        run.update(parameters, fraction)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"denoiser: loss is {losses[-1]} at step {run.step}; "
                                     "resume from the checkpoint with a lower rate")
        if rank == 0 and run.step % PRINT_STEPS == 0:
            print(f"denoiser step {run.step} {elapsed:.0f} s loss "
                  f"{np.mean(losses[-PRINT_STEPS:]):.4f}", flush=True)
        if rank == 0 and time.time() - saved_at > SAVE_SECONDS:
            run.seconds, saved_at = elapsed, time.time()
            checkpoint(work, run, networks, latents, tokenizer, fraction)
    if rank == 0:
        run.seconds = seconds
        checkpoint(work, run, networks, latents, tokenizer, 1)


def checkpoint(work, run, networks, latents, tokenizer, fraction):
    """Save, and print the held-out loss of the averaged weights, rounded as now trained."""
    save(work, "denoiser", run.state())
    Rounding().load(networks.parameters(), run.average, run.step, fraction)
    loss = validate(networks, latents, tokenizer)
    print(f"denoiser step {run.step}: held-out loss {loss:.4f}", flush=True)
