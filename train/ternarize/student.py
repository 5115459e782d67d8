"""The student: a transformer that computes, and the f32 masters that its weights are made from.

Before a step every computing parameter is filled with what its master stands for: a low-bit weight
with its scale times its value, every other tensor rounded to bf16, as both are stored. Afterwards
the gradients go to the masters unchanged (straight-through). So at blend 0 what computes is, bit
for bit, what a file would hold. Masters are rows of their tensors where these are sharded; a group
lies in one row, so the rows are all that rounding needs.
"""

import math

import torch
from torch.nn import Parameter

from export.errors import ExportError
from train.ternarize import grid, processes


class Student:
    def __init__(self, transformer, weights, lowbit, group, bits):
        """weights: name -> whole f32 tensor of the teacher; lowbit: names of the low-bit ones."""
        self.transformer, self.group, self.bits = transformer, group, bits
        self.parameters = dict(transformer.named_parameters())
        for name in lowbit:
            if weights[name].shape[1] % group:
                raise ExportError(
                    f"{name} has {weights[name].shape[1]} inputs, expected a multiple of {group}, "
                    "the group that shares a scale"
                )
        self.masters, self.scales, self.values = {}, {}, {}
        self.frozen = False
        for name, parameter in self.parameters.items():
            part = processes.local_part(weights[name].to(parameter.device), parameter)
            self.masters[name] = Parameter(part.detach().float().clone())
        for name in lowbit:
            rows, columns = self.masters[name].shape
            self.scales[name] = Parameter(self.masters[name].new_zeros(rows, columns // group))
            self.values[name] = torch.zeros_like(self.masters[name], dtype=torch.int8)

    @torch.no_grad()
    def initialise(self, fit=grid.least_squares):
        """Scales by fit(weight, group, bits), and the values nearest to the weights."""
        for name, scales in self.scales.items():
            scales.copy_(fit(self.masters[name], self.group, self.bits))
        self.load()

    @torch.no_grad()
    def load(self, blend=0.0, names=None):
        """Fills the computing parameters: low-bit weights, with a share `blend` of the latent ones.

        Returns the number of this process's values that changed since the last time, a tensor.
        """
        flips = 0
        for name in names or self.parameters:
            parameter = processes.local(self.parameters[name])
            if name not in self.scales:
                parameter.copy_(grid.stored(self.masters[name]))
                continue
            if not self.frozen:
                values = grid.nearest(
                    self.masters[name], grid.stored(self.scales[name]), self.bits
                )
                flips = flips + (values != self.values[name]).sum()
                self.values[name] = values
            weight = grid.decode(self.values[name], grid.stored(self.scales[name]))
            parameter.copy_(weight.lerp(self.masters[name], blend) if blend else weight)
        return torch.as_tensor(flips)

    @torch.no_grad()
    def follow(self):
        """Sets the scales to the least squares of the latent weights, by one Lloyd iteration."""
        for name, scales in self.scales.items():
            scales.copy_(grid.refine(self.masters[name], scales, self.bits))

    @torch.no_grad()
    def collect(self, blend=0.0, learn_scales=True):
        """Moves the gradients of the computing parameters to the masters, adding to what is there.

        A latent weight takes its weight's gradient. A scale takes its true derivative, the sum over
        the group of gradient times value, divided by sqrt(group) so that its size is a weight's.
        """
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            gradient = processes.local(parameter.grad).float()
            parameter.grad = None
            if name in self.scales and learn_scales:
                slope = grid.grouped(gradient * self.values[name], self.group).sum(-1)
                add_gradient(self.scales[name], slope * ((1 - blend) / math.sqrt(self.group)))
            if name in self.masters:
                add_gradient(self.masters[name], gradient)

    @torch.no_grad()
    def freeze(self):
        """Fixes the values for good and gives up the latent weights."""
        self.load()
        self.frozen = True
        for name in self.scales:
            del self.masters[name]

    def latents(self, names=None):
        """Latent weights, of all or some of the parameters."""
        return [p for name, p in self.masters.items()
                if name in self.scales and (names is None or name in names)]

    def others(self, names=None):
        """Dense tensors and scales."""
        dense = [p for name, p in self.masters.items() if name not in self.scales]
        if names is None:
            return dense + list(self.scales.values())
        dense = [self.masters[name] for name in names if name not in self.scales]
        return dense + [self.scales[name] for name in names if name in self.scales]

    @torch.no_grad()
    def keep_scales_positive(self):
        for scales in self.scales.values():
            scales.clamp_(min=0)

    def state(self):
        return {
            "masters": detached(self.masters), "scales": detached(self.scales),
            "values": dict(self.values), "frozen": self.frozen,
        }

    @torch.no_grad()
    def restore(self, state):
        """Takes a state back; the computing parameters are as before until the next load."""
        if state["frozen"] and not self.frozen:
            self.freeze()
        for own, saved in ((self.masters, state["masters"]), (self.scales, state["scales"])):
            for name, parameter in own.items():
                parameter.copy_(saved[name])
        for name, values in self.values.items():
            values.copy_(state["values"][name])

    def tensors(self):
        """(name, values, scales or None) of each whole tensor as it is stored, on every process.

        Low-bit: values int8 [N, K], scales bf16 [N, K/G]. Dense: the tensor itself in bf16.
        """
        for name, parameter in self.parameters.items():
            if name in self.scales:
                scales = processes.whole(self.scales[name].detach(), parameter).bfloat16()
                yield name, processes.whole(self.values[name], parameter).cpu(), scales.cpu()
            else:
                dense = processes.whole(self.masters[name].detach(), parameter)
                yield name, dense.bfloat16().cpu(), None


def add_gradient(parameter, gradient):
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def detached(parameters):
    return {name: parameter.detach() for name, parameter in parameters.items()}
