"""Where the tensors of a GGUF file lie, and which block Q2_0 has in this one.

Readers of GGUF take what a tensor's shape and type ask for from its offset on, and pass over what
lies behind it. So the room to the next tensor is only a lower bound of nothing: it must hold the
tensor, and may be larger. Type 42 is one block size in one file, decided over all its tensors.
"""

import math
import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from export.source.gguf_types import BLOCKS, FLOATS, TWO_SIZES
from export.source.safetensors import DTYPES

SAMPLED_BLOCKS = 4096  # of each tensor, whose scales are looked at
HINT = re.compile(r"(?<![a-z0-9])g(64|128)(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Info:
    """One tensor as the header tells it; `at` counts from the beginning of the data."""

    name: str
    shape: tuple[int, ...]
    kind: int
    at: int

    @property
    def columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    def bytes(self, weights: int, size: int) -> int:
        """Bytes in blocks of `weights` weights that take `size` bytes."""
        return math.prod(self.shape) // weights * size


def rooms(infos: list[Info], data_bytes: int) -> dict[str, int]:
    """name -> bytes from a tensor's offset to that of the next one, or to the end of the file.

    Empty tensors take part only with what lies behind them.
    """
    ends = sorted([info.at for info in infos if math.prod(info.shape)] + [data_bytes])
    after = {at: end for at, end in zip(ends, ends[1:], strict=False)}
    return {info.name: max(after.get(info.at, 0) - info.at, 0) for info in infos}


def block_of(info: Info, two_sizes: int) -> tuple[int, int] | None:
    """(weights, bytes) of a block, None for floats and types that are not read."""
    if info.kind not in BLOCKS:
        return None
    sizes = BLOCKS[info.kind][1]
    weights = two_sizes if info.kind == TWO_SIZES else next(iter(sizes))
    return weights, sizes[weights]


def size_of(info: Info, block: tuple[int, int] | None, room: int) -> int:
    """Bytes of a tensor; all of its room where the type is not read."""
    if block:
        return info.bytes(*block)
    if info.kind in FLOATS:
        return math.prod(info.shape) * np.dtype(DTYPES[FLOATS[info.kind]]).itemsize
    return room


def find_two_sizes(infos, room, file, start, hints, fail):
    """Weights in a block of the file's Q2_0 tensors, 64 or 128; 0 when it has none.

    The sizes that all of them have room for; of two, the one under which every scale is a finite
    number that is not negative; else what a name says. hints: texts such as the file's name.
    """
    ours = [info for info in infos if info.kind == TWO_SIZES]
    if not ours:
        return 0
    sizes = BLOCKS[TWO_SIZES][1]
    fits = [n for n in sizes if all(i.columns % n == 0 and i.bytes(n, sizes[n]) <= room[i.name]
                                    for i in ours)]
    if not fits:  # the caller tells which tensor has no room in the smaller form
        return max(sizes) if all(i.columns % max(sizes) == 0 for i in ours) else min(sizes)
    if len(fits) == 1:
        return fits[0]
    by_scales = [n for n in fits
                 if all(has_scales(info, n, sizes[n], file, start) for info in ours)]
    if len(by_scales) == 1:
        return by_scales[0]
    named = {int(n) for text in hints for n in HINT.findall(text)}
    if len(named) == 1:
        return named.pop()
    fail(
        f"{ours[0].name} and {len(ours) - 1} more tensors are Q2_0, and blocks of 64 and of 128 "
        "weights both fit; add g64 or g128 to the file's name, as in model-Q2_0_g64.gguf"
    )


def has_scales(info: Info, weights: int, size: int, file: BinaryIO, start: int) -> bool:
    """Whether the first blocks begin with scales: read askew, they begin with codes as well."""
    count = min(SAMPLED_BLOCKS, math.prod(info.shape) // weights)
    file.seek(start + info.at)
    blocks = np.frombuffer(file.read(count * size), np.uint8)
    scales = np.ascontiguousarray(blocks.reshape(-1, size)[:, :2]).view("<f2")
    return bool((np.isfinite(scales) & ~np.signbit(scales)).all())
