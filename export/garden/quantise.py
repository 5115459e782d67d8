"""The two weight formats of the packed model, in torch: ternary and 4-bit affine, by groups of the
input axis.

ternary   w = scale * t, t in -1, 0, 1; groups of 128; scale bf16
affine    w = scale * q + bias, q in 0..15; groups of 64; scale and bias bf16
"""

import torch

TERNARY_GROUP = 128
AFFINE_GROUP = 64
AFFINE_LEVELS = 15


def grouped(weight, group):
    """[out, in] as [out, in / group, group]."""
    if weight.shape[-1] % group:
        raise ValueError(f"quantise: input width is {weight.shape[-1]}, expected a multiple of "
                         f"{group}")
    return weight.reshape(weight.shape[0], -1, group)


def ternary_scales(weight):
    """Exact least-squares scales f32 [out, in/128].

    With k values kept, the best scale is their mean magnitude, and the error falls as
    (sum of the k largest)^2 / k grows: so try every k.
    """
    magnitudes = grouped(weight, TERNARY_GROUP).abs().sort(-1, descending=True).values
    sums = magnitudes.cumsum(-1)
    counts = torch.arange(1, TERNARY_GROUP + 1, dtype=sums.dtype)
    best = (sums.square() / counts).argmax(-1, keepdim=True)
    return (sums.gather(-1, best) / (best + 1)).squeeze(-1)


def refine_scales(weight, scales):
    """One Lloyd iteration from `scales`: mean magnitude of the values above half a scale."""
    magnitudes = grouped(weight, TERNARY_GROUP).abs()
    kept = magnitudes > scales[..., None] / 2
    return (magnitudes * kept).sum(-1) / kept.sum(-1).clamp(min=1)


def ternary_codes(weight, scales):
    """t int8 [out, in] nearest to weight / scale; scales as stored (bf16 values)."""
    groups = grouped(weight, TERNARY_GROUP)
    return (groups.sign() * (groups.abs() > scales[..., None] / 2)).to(torch.int8).view_as(weight)


def ternary(weight, scales):
    """Rounded to the ternary grid: f32 [out, in], exactly what the packed file holds."""
    scales = scales.bfloat16().float()
    groups = grouped(weight, TERNARY_GROUP)
    signs = groups.sign() * (groups.abs() > scales[..., None] / 2)
    return (signs * scales[..., None]).view_as(weight)


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
