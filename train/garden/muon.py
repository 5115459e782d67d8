"""Muon: momentum whose matrix step is orthogonalised (Jordan et al. 2024); Adam takes the rest.

The run is short (some thousand steps), where orthogonal steps learn about twice as much per step
as Adam's. Convolution kernels count as matrices [out, in·kh·kw].
"""

import math

import torch
from torch import distributed

from .precision import training_dtype

# Quintic Newton-Schulz iteration x <- a·x + (b·A + c·A²)·x with A = x·xᵀ; Jordan's coefficients.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix, steps=5):
    """Nearest semi-orthogonal matrix of f32 [m, n], roughly: singular values land in 0.7..1.2."""
    a, b, c = COEFFICIENTS
    x = matrix.to(training_dtype())
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Step of size lr·0.2·sqrt(max(m, n)): the same root mean square as an Adam step of that lr."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            directions = [self._direction(p, group["momentum"]) for p in parameters]
            for parameter, update in zip(parameters, shared(directions), strict=True):
                size = 0.2 * math.sqrt(max(update.shape)) * group["lr"]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view_as(parameter), alpha=-size)

    def _direction(self, parameter, momentum):
        """Nesterov momentum of the gradient as a matrix [out, rest]."""
        state = self.state[parameter]
        if not state:
            state["average"] = torch.zeros_like(parameter)
        state["average"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["average"], momentum).flatten(1)


def shared(directions):
    """All directions orthogonalised, each by one of the processes, in one exchange."""
    rank, workers = 0, 1
    if distributed.is_initialized():
        rank, workers = distributed.get_rank(), distributed.get_world_size()
    flat = torch.zeros(sum(d.numel() for d in directions))
    parts = flat.split([d.numel() for d in directions])
    order = sorted(range(len(directions)), key=lambda i: directions[i].numel())
    for i in order[rank::workers]:
        parts[i].copy_(orthogonalise(directions[i]).flatten())
    if workers > 1:
        distributed.all_reduce(flat)
    return [part.view_as(d) for part, d in zip(parts, directions, strict=True)]
