"""The two weight formats of the packed model, in torch: ternary and 4-bit affine, by groups of the
input axis.

ternary   w = scale * t, t in -1, 0, 1; groups of 128; scale bf16
affine    w = scale * q + bias, q in 0..15; groups of 64; scale and bias bf16
"""

import torch

from export.ternarize import grid
from export.ternarize.grid import TERNARY, grouped

TERNARY_GROUP = 128
AFFINE_GROUP = 64
AFFINE_LEVELS = 15


def ternary_scales(weight):
    """Exact least-squares scales f32 [out, in/128]."""
    return grid.least_squares(weight, TERNARY_GROUP, TERNARY)


def refine_scales(weight, scales):
    """One Lloyd iteration from `scales`."""
    return grid.refine(weight, scales, TERNARY)


def ternary_codes(weight, scales):
    """t int8 [out, in] nearest to weight / scale; scales as stored (bf16 values)."""
    return grid.nearest(weight, scales, TERNARY)


def ternary(weight, scales):
    """Rounded to the ternary grid: f32 [out, in], exactly what the packed file holds."""
    scales = grid.stored(scales)
    return grid.decode(grid.nearest(weight, scales, TERNARY), scales)


def affine_parts(weight):
    """Codes uint8 [out, in], scales and biases f32 (bf16 values) [out, in/64]: min and max fit."""
    groups = grouped(weight, AFFINE_GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scales = ((high - low) / AFFINE_LEVELS).clamp(min=1e-8).bfloat16().float()
    biases = low.bfloat16().float()
    codes = ((groups - biases[..., None]) / scales[..., None]).round().clamp(0, AFFINE_LEVELS)
    return codes.to(torch.uint8).view_as(weight), scales, biases


def affine(weight):
    """Rounded to the 4-bit grid: f32 [out, in]."""
    codes, scales, biases = affine_parts(weight)
    groups = grouped(codes.float(), AFFINE_GROUP)
    return (groups * scales[..., None] + biases[..., None]).view_as(weight)
