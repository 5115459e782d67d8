"""The low-bit grids in torch: one scale times a value, for each row and group of inputs.

ternary   w = scale * t    t in -1, 0, 1
binary    w = scale * b    b in -1, 1

Letters: weight f32 [N, K], scales f32 [N, K/G], values int8 [N, K]. A stored scale is bf16.
"""

import torch

TERNARY, BINARY = "ternary", "binary"
CODE_BITS = {TERNARY: 2, BINARY: 1}


def grouped(weight, group):
    """[N, K] as [N, K/G, G]. Raises ValueError where K is not a multiple of the group."""
    if weight.shape[-1] % group:
        raise ValueError(
            f"grouped: the input width is {weight.shape[-1]}, expected a multiple of {group}"
        )
    return weight.unflatten(-1, (-1, group))


def least_squares(weight, group, bits):
    """Scales with the least squared error; the values follow from them.

    Binary: the mean magnitude. Ternary: with the k largest kept, the best scale is their mean and
    the error falls as (sum of the k largest)^2 / k grows, so every k is tried.
    """
    magnitudes = grouped(weight, group).abs()
    if bits == BINARY:
        return magnitudes.mean(-1)
    sums = magnitudes.sort(-1, descending=True).values.cumsum(-1)
    counts = torch.arange(1, group + 1, dtype=sums.dtype, device=sums.device)
    best = (sums.square() / counts).argmax(-1, keepdim=True)
    return (sums.gather(-1, best) / (best + 1)).squeeze(-1)


def absmean(weight, group, bits):
    """BitNet b1.58's scales, for comparison: the mean magnitude, with values cut at half of it."""
    return grouped(weight, group).abs().mean(-1)


FITS = {"least-squares": least_squares, "absmean": absmean}


def refine(weight, scales, bits):
    """One Lloyd iteration: the least-squares scales of the values that `scales` give."""
    groups = grouped(weight, weight.shape[-1] // scales.shape[-1]).abs()
    if bits == BINARY:
        return groups.mean(-1)
    kept = groups > scales[..., None] / 2
    return (groups * kept).sum(-1) / kept.sum(-1).clamp(min=1)


def nearest(weight, scales, bits):
    """The values int8 [N, K] nearest to weight / scale; a binary zero counts as positive."""
    if bits == BINARY:
        return torch.where(weight < 0, -1, 1).to(torch.int8)
    groups = grouped(weight, weight.shape[-1] // scales.shape[-1])
    values = groups.sign() * (groups.abs() > scales[..., None] / 2)
    return values.to(torch.int8).view_as(weight)


def decode(values, scales):
    """Weights [N, K] of values [N, K] and scales [N, K/G], in the scales' type."""
    groups = grouped(values, values.shape[-1] // scales.shape[-1])
    return (groups * scales[..., None]).view_as(values)


def stored(tensor):
    """f32 as the file holds it: rounded to bf16."""
    return tensor.bfloat16().float()
