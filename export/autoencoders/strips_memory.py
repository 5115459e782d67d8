"""GPU memory of pictures in strips, counted as the page's decoders take it.

A picture lies in strips, what is released waits in a pool, and what a pool cannot give again is
added to it: web/engine/strips.js over memory.js.
"""

from dataclasses import dataclass, field
from math import ceil

STRIP_BYTES = 16 << 20  # as in web/engine/strips.js
ALIGNMENT = 256  # as in web/engine/memory.js
MOST_WASTE = 1.25  # likewise: how much larger a buffer of the pool may be


class Pool:
    """web/engine/memory.js's Allocator, of which only the bytes count."""

    def __init__(self) -> None:
        self.live = self.peak = 0
        self.waiting: list[int] = []

    def take(self, values: int, least: int = 0) -> int:
        """Bytes of a buffer for so many f32 values, and of at least so many bytes."""
        wanted = ceil(max(4 * values, least, 4) / ALIGNMENT) * ALIGNMENT
        fitting = [size for size in self.waiting if wanted <= size <= MOST_WASTE * wanted]
        if fitting:
            self.waiting.remove(min(fitting))
            return min(fitting)
        self.live += wanted
        self.peak = max(self.peak, self.live)
        return wanted

    def release(self, *sizes: int) -> None:
        self.waiting += sizes

    def trim(self) -> None:
        self.live -= sum(self.waiting)
        self.waiting = []


@dataclass
class Map:
    """A picture [H, W, C] in strips of `rows` rows; strips: index -> bytes."""

    shape: tuple[int, int, int]
    rows: int
    strips: dict[int, int] = field(default_factory=dict)


def strip_rows(width: int, channels: int) -> int:
    return max(1, STRIP_BYTES // (4 * width * channels))


class StripBuffers:
    """A pool, and the pictures whose strips come from it."""

    def __init__(self) -> None:
        self.pool = Pool()

    def whole(self, height: int, width: int, channels: int) -> Map:
        """A map in one buffer."""
        return Map((height, width, channels), height,
                   {0: self.pool.take(height * width * channels)})

    def empty(self, shape: tuple[int, int, int], rows: int = 0) -> Map:
        """One of which no strip is made yet; rows of a strip, 0: as many as fit."""
        height, width, channels = shape
        return Map(shape, min(height, rows or strip_rows(width, channels)))

    def strip_at(self, y: Map, row: int) -> None:
        """That the strip of a row is there."""
        height, width, channels = y.shape
        index = row // y.rows
        if index in y.strips:
            return
        usual = y.rows == strip_rows(width, channels)
        least = STRIP_BYTES if usual else 4 * y.rows * width * channels
        rows = min(y.rows, height - index * y.rows)
        y.strips[index] = self.pool.take(rows * width * channels, least if y.rows < height else 0)

    def release_above(self, x: Map, row: int) -> None:
        for index in [index for index in x.strips if index < row // x.rows]:
            self.pool.release(x.strips.pop(index))
