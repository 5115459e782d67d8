"""The training loop that the flow and its distillation share.

The networks may compute in bf16; f32 masters hold the weights. Everything random in step n comes
from n alone, so a resumed run continues as if never stopped. The schedule runs over a clock, the
wall's or the process's own, because that is what the machine gives.
"""

import math
import time

import numpy as np
import torch

from .checkpoint import load_latest, save
from .muon import Muon
from .parallel import agree, average_gradients

EMA_DECAY = 0.995
SAVE_SECONDS = 180
PRINT_STEPS = 25
CONSTANT_UNTIL = .45    # fraction of the run


def rate_at(fraction):
    """Warm-up over 2 %, constant to 45 %, then a cosine to 2 % of the peak."""
    way = max(0, (min(fraction, 1) - CONSTANT_UNTIL) / (1 - CONSTANT_UNTIL))
    return min(fraction / .02, 1) * (.02 + .98 * (1 + math.cos(math.pi * way)) / 2)


def is_hidden(name, parameter):
    """Whether Muon steps it: hidden matrices, not embeddings, modulations, norms and ends."""
    return (parameter.ndim == 2 and "embed" not in name
            and (name.startswith("text_encoder.") or "transformer_blocks." in name))


class Run:
    """Masters, their moving average and the optimisers: all that a checkpoint holds.

    `parameters` maps names to the parameters that compute; `rates` are the peaks of Muon and Adam;
    hidden(name, parameter) says which are Muon's.
    """

    def __init__(self, parameters, rates, hidden=is_hidden):
        self.parameters, self.peaks = parameters, rates
        self.masters = {name: torch.nn.Parameter(p.detach().float().clone())
                        for name, p in parameters.items()}
        self.average = {name: p.detach().clone() for name, p in self.masters.items()}
        matrices = [p for name, p in self.masters.items() if hidden(name, p)]
        rest = [p for name, p in self.masters.items() if not hidden(name, p)]
        self.optimisers = [
            Muon(matrices, rates[0]),
            torch.optim.AdamW(rest, rates[1], betas=(.9, .98), weight_decay=0, foreach=True)]
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

    @torch.no_grad()
    def fill(self, tensors):
        """Copy tensors (the masters or the average) into the parameters that compute."""
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[name])

    def update(self, fraction):
        """One optimiser step from the gradients of the computing parameters."""
        for name, master in self.masters.items():
            gradient = self.parameters[name].grad
            master.grad = None if gradient is None else gradient.float()
            self.parameters[name].grad = None
        average_gradients(self.masters.values())
        for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate_at(fraction + 1e-3)
            optimiser.step()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()),
                             [p.detach() for p in self.masters.values()], 1 - decay)


def fit(run, name, work, seconds, rank, loss_at, validate, clock=time.time, figure="loss"):
    """Train for `seconds` by the clock in all, over every resumption.

    loss_at(step) is this process's loss; validate() the held-out `figure` of what now computes.
    """
    if (state := load_latest(work, name)) is not None:
        run.restore(state)
        del state
    before, start, saved_at, losses = run.seconds, clock(), time.time(), []
    while (elapsed := agree(before + clock() - start)) < seconds:
        run.fill(run.masters)
        loss = loss_at(run.step)
        loss.backward()
        run.update(elapsed / seconds)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"{name}: loss is {losses[-1]} at step {run.step}; "
                                     "resume from the checkpoint with a lower rate")
        if rank == 0 and run.step % PRINT_STEPS == 0:
            print(f"{name} step {run.step} {elapsed:.0f} s loss "
                  f"{np.mean(losses[-PRINT_STEPS:]):.4f}", flush=True)
        if rank == 0 and time.time() - saved_at > SAVE_SECONDS:
            run.seconds, saved_at = elapsed, time.time()
            checkpoint(run, name, work, validate, figure)
    if rank == 0:
        run.seconds = seconds
        checkpoint(run, name, work, validate, figure)


def checkpoint(run, name, work, validate, figure):
    """Save, and print the held-out figure of the averaged weights."""
    save(work, name, run.state())
    run.fill(run.average)
    print(f"{name} step {run.step}: held-out {figure} {validate():.4f}", flush=True)
