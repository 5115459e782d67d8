"""torch's CPU normal noise without torch, as web/models/samplers/noise.js has it.

torch.Generator("cpu").manual_seed(seed) is the Mersenne Twister mt19937, seeded by the low 32 bits
of the seed; torch.randn in float32 fills 16 or more values by Box-Muller over blocks of 16
uniforms. Equal to torch to 1e-6: its vectorised log, sine and cosine differ by machine.
"""

import numpy as np

from export.errors import ExportError

BLOCK = 16
f32 = np.float32


def torch_randn(seed, count):
    """torch.randn(count) of a fresh generator, f32 [count]. Raises ExportError below 16 values."""
    if count < BLOCK:
        raise ExportError(f"noise of {count} values, expected at least {BLOCK}; draw larger")
    twister = np.random.RandomState(seed & 0xFFFFFFFF)
    whole = count // BLOCK * BLOCK
    values = uniforms(twister, count)
    values[:whole] = box_muller(values[:whole])
    if whole < count:  # the last 16 are drawn afresh, over the tail of the last whole block
        values[-BLOCK:] = box_muller(uniforms(twister, BLOCK))
    return values


def uniforms(twister, count):
    """f32 [count] in [0, 1), bit for bit torch's."""
    words = twister.randint(0, 1 << 32, count, np.uint32)
    return (words & 0xFFFFFF).astype(f32) * f32(2.0**-24)


def box_muller(values):
    """Whole blocks of uniforms: radii from the first 8 of each, angles from the last 8."""
    first, last = values.reshape(-1, 2, BLOCK // 2).transpose(1, 0, 2)
    radius = np.sqrt(f32(-2) * np.log(f32(1) - first))
    angle = f32(2 * np.pi) * last
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
