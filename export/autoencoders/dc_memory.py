"""How much GPU memory the page's decoder of AutoencoderDC takes beside its weights.

Follows the buffers of web/models/autoencoders/dc.js and dc_blocks.js over web/engine/rows.js one by
one; a test holds this to what the page counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

from export.autoencoders.strips_memory import Map, StripBuffers, strip_rows

if TYPE_CHECKING:
    from export.autoencoders.dc import AutoencoderConfig

EXPANSION = 4  # of a pixel's MLP, as in web/models/autoencoders/dc_blocks.js
SLICE = 256  # pixels that one workgroup sums, as in web/engine/linear_attention.js


@dataclass(frozen=True)
class Rows:
    """`count` rows that are made, from `first` on of a window (enlarged) that has `window`."""

    window: int
    first: int
    count: int

    @property
    def widened(self) -> int:
        """Rows of the window that a 3x3 convolution reads for them."""
        return min(self.window, self.first + self.count + 1) - max(0, self.first - 1)


class Buffers(StripBuffers):
    """web/engine/rows.js and the blocks; a picture's shape is [H, W, C]."""

    def __init__(self, c: "AutoencoderConfig") -> None:
        super().__init__()
        self.c = c

    def in_rows(self, x: Map, y: Map, takes: Callable[[Rows], list[int]], up: int = 1,
                halo: int = 0, most: float = inf, last: bool = True) -> Map:
        """takes(rows): what is there beside y while they are made, in values."""
        height, row = y.shape[0], 0
        while row < height:
            end = int(min(height, (row // y.rows + 1) * y.rows, row + most))
            self.strip_at(y, row)
            top, past = max(0, row // up - halo), min(x.shape[0], (end - 1) // up + 1 + halo)
            taken, start, window = [], top, past - top
            if top // x.rows != (past - 1) // x.rows:
                taken.append(self.pool.take(window * x.shape[1] * x.shape[2]))
            else:
                start = top // x.rows * x.rows
                window = min(x.rows, x.shape[0] - start)
            rows = Rows(window, row - up * start, end - row)
            taken += [self.pool.take(values) for values in takes(rows)]
            self.pool.release(*taken)
            if last:
                self.release_above(x, end // up - halo)
            row = end
        if last:
            self.release_above(x, x.shape[0] + x.rows)
        return y

    def enlarge(self, rows: Rows, width: int, channels: int) -> list[int]:
        """Four times the channels, where a convolution makes the pixels of a square."""
        if self.c.upsample_block_type == "interpolate":
            return []
        count = (rows.first + rows.count + 1) // 2 - rows.first // 2
        return [count * width * 4 * channels]

    def grow(self, x: Map, channels: int) -> Map:
        height, width, _ = x.shape
        y = self.empty((2 * height, 2 * width, channels))
        return self.in_rows(x, y, lambda rows: self.enlarge(rows, width, channels), up=2, halo=1)

    def block(self, x: Map, stage: int) -> Map:
        if self.c.block_types[stage] == "ResBlock":
            return self.res_block(x)
        return self.glumb_conv(self.attention(x, stage))

    def res_block(self, x: Map) -> Map:
        _, width, channels = x.shape
        row = width * channels
        return self.in_rows(x, self.empty(x.shape),
                            lambda rows: [rows.widened * row, rows.count * row], halo=2)

    def glumb_conv(self, x: Map) -> Map:
        _, width, channels = x.shape
        wide = EXPANSION * channels
        return self.in_rows(
            x, self.empty(x.shape),
            lambda rows: [rows.widened * width * 2 * wide, rows.count * width * wide,
                          rows.count * width * channels],
            halo=1, most=strip_rows(width, wide))

    def attention(self, x: Map, stage: int) -> Map:
        height, width, channels = x.shape
        inner, head = self.c.inner(stage), self.c.attention_head_dim
        qkv = self.in_rows(x, self.empty((height, width, 3 * inner)),
                           lambda rows: [rows.count * width * inner], last=False)
        streams = [qkv] + [
            self.in_rows(qkv, self.empty(qkv.shape), lambda rows: [rows.count * width * 3 * inner],
                         halo=size // 2, last=False)
            for size in self.c.qkv_multiscales[stage]
        ]
        ends = [*range(qkv.rows, height, qkv.rows), height]
        slices = sum(ceil((end - start) * width / SLICE)
                     for start, end in zip([0, *ends], ends, strict=False))
        sums = [self.sums(slices, inner * (head + 1)) for _ in streams]
        y = self.in_rows(x, self.empty(x.shape, qkv.rows),
                         lambda rows: [rows.count * width * channels, rows.count * width * inner])
        self.pool.release(*sums)
        for stream in streams:
            self.release_above(stream, height + qkv.rows)
        return y

    def sums(self, slices: int, values: int) -> int:
        partials = self.pool.take(slices * values)
        if slices == 1:
            return partials
        merged = self.pool.take(values)
        self.pool.release(partials)
        return merged


def decoding_bytes(c: "AutoencoderConfig", width: int, height: int) -> int:
    """The most at once for a picture of so many pixels."""
    buffers, channels = Buffers(c), c.block_out_channels
    pool, (h, w) = buffers.pool, (side // c.scale_factor for side in (height, width))
    pool.take(h * w * c.latent_channels)  # the latents, to the end
    pool.take(max(3, *channels))  # zeros
    z = buffers.whole(h, w, c.latent_channels)
    pool.release(pool.take(2), pool.take(c.latent_channels), pool.take(c.latent_channels))
    x = buffers.in_rows(z, buffers.empty((h, w, channels[-1])), lambda rows: [], halo=1)
    for i in c.stages():
        if c.grows(i):
            x = buffers.grow(x, channels[i])
        for _ in range(c.layers_per_block[i]):
            x = buffers.block(x, i)
        pool.trim()
    leave(buffers, x, 2 if c.grows_last else 1)
    pool.take(height * width)  # bytes r g b a, and their way to the CPU
    return max(pool.peak, pool.live + 4 * height * width)


def leave(buffers: Buffers, x: Map, up: int) -> None:
    height, width, channels = x.shape
    pixels = buffers.whole(up * height, up * width, 3)

    def takes(rows: Rows) -> list[int]:
        more = buffers.enlarge(rows, width, 3) if up > 1 else []
        return [rows.window * width * channels, *more]

    buffers.in_rows(x, pixels, takes, up=up, halo=1, most=up * strip_rows(width, channels))
