"""A random model in the shapes of a published one, or tiny, whose tensors are made when asked for.

Names and shapes are those of diffusers' and transformers' own classes. Every tensor follows from
its name and the variant alone, so that all layouts hold the same model. Floats are bf16, as u16;
low-bit weights are codes, and scales for the family's groups of inputs.
"""

import functools
import zlib

import numpy as np
import torch

from tests.fullscale.flux1 import DEV, SCHNELL
from tests.fullscale.flux2 import FLUX2
from tests.fullscale.formats import Part
from tests.fullscale.sana import SANA, SPRINT

FAMILIES = {"flux2": FLUX2, "sana": SANA, "sana-sprint": SPRINT, "flux1-schnell": SCHNELL,
            "flux1-dev": DEV}
TEXT_GROUP = 64
CHUNK = 1 << 24  # values in memory at a time
DENSE = ("conv_depth.weight", "scale_shift_table")  # in blocks, and yet not low-bit


def round_bf16(values):
    """f32 -> bf16 as u16, to nearest."""
    return ((np.ascontiguousarray(values, "<f4").view("<u4") + 0x8000) >> 16).astype("<u2")


def widen_bf16(stored):
    return (stored.astype("<u4") << 16).view("<f4")


class Model:
    """Configurations, shapes and tensors; `name`s begin with their component's."""

    def __init__(self, scale="full", variant="ternary", family=FLUX2, hollow=False):
        """hollow: zeros are written in the place of tensors, which take no room on the disk."""
        self.hollow = hollow
        self.variant, self.levels = variant, {"ternary": 3, "binary": 2}[variant]
        self.bits = self.levels - 1
        self.scale, self.family, self.group = scale, family, family.group
        config, self.call = family.configs[scale], family.calls[scale]
        with torch.device("meta"):
            modules = family.modules(config)
        shapes = {name: shapes_of(module) for name, module in modules.items()}
        self.transformer, self.vae = shapes["transformer"], shapes["vae"]
        self.configs = {name: dict(modules[name].config) for name in ("transformer", "vae")}
        self.encoders = {}  # component -> name -> shape
        for name, encoder in family.encoders.items():
            self.configs[name] = encoder.config | config[name]
            self.encoders[name] = {tensor: shape for tensor, shape in shapes[name].items()
                                   if tensor not in encoder.tied}

    def random(self, name, chunk=0):
        return np.random.default_rng([zlib.crc32(name.encode()), chunk])

    def is_lowbit(self, name):
        """Of a transformer's tensor: a matrix, or a 1x1 convolution, of a block."""
        shape = self.transformer[name]
        return len(shape) > 1 and "transformer_blocks." in name and not name.endswith(DENSE)

    @functools.lru_cache(maxsize=1)  # noqa: B019  (one tensor, written in up to three parts)
    def lowbit(self, name):
        """codes u8 [N, K], scales f32 [N, K/group]: w = scale * (code - 1) or scale * (2 code - 1)

        The first group of the first weight is all zero in a ternary model: scale 0.
        """
        rows, columns = self.transformer[name][:2]
        random = self.random(name)
        codes = random.integers(0, self.levels, (rows, columns), np.uint8)
        size = (1.5 if self.levels == 3 else 1.0) ** 0.5 / columns**0.5
        spread = random.standard_normal((rows, columns // self.group), np.float32)
        scales = widen_bf16(round_bf16(size * np.exp(0.3 * spread)))
        if self.levels == 3 and name == next(filter(self.is_lowbit, self.transformer)):
            codes[0, : self.group], scales[0, 0] = 1, 0
        return codes, scales

    def weights(self, name):
        """A low-bit weight as bf16 [N, K]."""
        codes, scales = self.lowbit(name)
        table = np.array([-1, 0, 1] if self.levels == 3 else [-1, 1], np.float32)[codes]
        grouped = table.reshape(*scales.shape, self.group)
        grouped *= scales[..., None]
        return round_bf16(table)

    def whole(self, name, shape, prefix=""):
        """Any other tensor as it is to be written, `prefix` before its name."""
        if name.endswith("num_batches_tracked"):
            return Part(name, "I64", shape, lambda: [np.zeros(shape, "<i8")])
        return Part(prefix + name, "BF16", shape, lambda: self.floats(name, shape))

    def floats(self, name, shape):
        """Chunks of rows of any other tensor, bf16: norms near one, weights by their fan-in."""
        rows = shape[0] if shape else 1
        row = int(np.prod(shape[1:]))
        step = max(1, CHUNK // row)
        for chunk, first in enumerate(range(0, rows, step)):
            size = (min(step, rows - first), *shape[1:])
            values = self.random(name, chunk).standard_normal(size, np.float32)
            yield round_bf16(self.scaled(name, shape, values))

    def scaled(self, name, shape, values):
        if len(shape) > 1:
            return values * (self.gain(name) / row_length(shape) ** 0.5)
        if name.endswith("running_var"):
            return np.exp(0.3 * values)
        centre = 0.0 if name.endswith(("bias", "running_mean")) else 1.0
        return centre + 0.1 * values

    def text_codes(self, name, shape):
        """Chunks of codes u8 [n, K] of 16, of a text encoder's weight [N, K]."""
        for chunk, rows in text_chunks(shape):
            yield self.random(name, chunk).integers(0, 16, (rows, shape[1]), np.uint8)

    def text_scales(self, name, shape):
        """Chunks of scales bf16 [n, K/64] under which codes around 7.5 keep a signal's size."""
        columns = shape[1]
        for chunk, rows in text_chunks(shape):
            random = self.random(f"{name} scales", chunk)
            spread = random.standard_normal((rows, columns // TEXT_GROUP), np.float32)
            yield round_bf16(np.exp(0.2 * spread) * (self.gain(name) / (4.6 * columns**0.5)))

    def gain(self, name):
        """What keeps a text encoder's signals as they are when it is trained."""
        gains = {end: gain for about in self.family.encoders.values()
                 for end, gain in about.gains.items()}
        return next((gain for end, gain in gains.items() if name.endswith(end)), 1.0)


def text_chunks(shape):
    """(chunk, rows in it) of a text encoder's weight."""
    rows, columns = shape
    step = max(1, CHUNK // columns)
    return enumerate(min(step, rows - first) for first in range(0, rows, step))


def row_length(shape):
    return int(np.prod(shape[1:]))


def shapes_of(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}
