"""How much GPU memory the page's decoder and encoder take beside their weights.

Follows the buffers of web/models/autoencoders/kl.js over web/engine/pictures.js and memory.js one
by one. No formula comes near that for all sizes; a test holds this to pipe.plan().
"""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from export.autoencoders.strips_memory import Map, StripBuffers

if TYPE_CHECKING:
    from export.autoencoders.kl import AutoencoderConfig

STATS_PIXELS = 1024  # as in web/engine/pictures.js


@dataclass(frozen=True)
class Convolution:
    """To `channels` channels; normalised first, enlarged by `up` or halved by `down`."""

    channels: int
    kernel: int = 3
    norm: bool = False
    up: int = 1
    down: int = 1
    into: Map | None = None

    def first_row(self, row: int) -> int:
        """Of the input, for row `row` of the output."""
        above = self.kernel // 2 if self.down == 1 else 0
        return max(0, (self.down * row - above) // self.up)

    def past_row(self, end: int) -> int:
        below = self.kernel // 2 if self.down == 1 else self.kernel - 1
        return (self.down * (end - 1) + below) // self.up + 1


class Buffers(StripBuffers):
    """The ops of one half of the autoencoder, which has `groups` in its norms."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def convolve(self, x: Map, *branches: Convolution, last: bool = False) -> list[Map]:
        """As conv2d and fork: rows in turn, and with `last` what is above them is released."""
        outputs = [one.into or self.output(x, one) for one in branches]
        stats = [self.statistics(x) for one in branches if one.norm]
        height, rows = outputs[0].shape[0], outputs[0].rows
        most = max(1, branches[0].up * x.rows // branches[0].down)
        row = 0
        while row < height:
            end = min(height, (row // rows + 1) * rows, row + most)
            for branch, y in zip(branches, outputs, strict=True):
                self.convolve_rows(x, branch, y, row, end)
            if last:
                self.release_above(x, min(one.first_row(end) for one in branches))
            row = end
        if last:
            self.release_above(x, x.shape[0] + x.rows)
        self.pool.release(*stats)
        return outputs

    def output(self, x: Map, one: Convolution) -> Map:
        height, width = (one.up * side // one.down for side in x.shape[:2])
        return self.empty((height, width, one.channels))

    def convolve_rows(self, x: Map, one: Convolution, y: Map, row: int, end: int) -> None:
        self.strip_at(y, row)
        first, past = one.first_row(row), min(x.shape[0], one.past_row(end))
        if one.norm or first // x.rows != (past - 1) // x.rows:
            self.pool.release(self.pool.take((past - first) * x.shape[1] * x.shape[2]))

    def statistics(self, x: Map) -> int:
        height, width, _ = x.shape
        chunk = STATS_PIXELS
        while x.rows < height and x.rows * width % chunk:
            chunk -= 1
        partials = self.pool.take(2 * self.groups * ceil(height * width / chunk))
        stats = self.pool.take(2 * self.groups)
        self.pool.release(partials)
        return stats

    def resnet(self, x: Map, channels: int) -> Map:
        first = Convolution(channels, norm=True)
        if x.shape[2] == channels:
            (h,), y = self.convolve(x, first), x
        else:
            h, y = self.convolve(x, first, Convolution(channels, kernel=1), last=True)
        return self.convolve(h, Convolution(channels, norm=True, into=y), last=True)[0]

    def middle(self, x: Map, attends: bool) -> Map:
        channels = x.shape[2]
        y = self.resnet(x, channels)
        if attends:
            stats = self.statistics(y)
            taken = [self.pool.take(y.shape[0] * y.shape[1] * channels)]  # the normalised map
            self.pool.release(stats)
            taken += [self.pool.take(y.shape[0] * y.shape[1] * channels) for _ in range(4)]
            self.pool.release(*taken)
        return self.resnet(y, channels)


def decoding_bytes(c: "AutoencoderConfig", width: int, height: int) -> int:
    """The most at once for a picture of so many pixels."""
    buffers, channels = Buffers(c.norm_num_groups), c.block_out_channels[::-1]
    pool, (h, w) = buffers.pool, (side // c.scale_factor for side in (height, width))
    pool.take(h * w * c.latent_channels)  # the tokens, to the end
    statistics = [pool.take(4 * c.latent_channels) for _ in range(2)]
    x = buffers.whole(h, w, c.latent_channels)
    pool.release(*statistics)
    if c.use_post_quant_conv:
        x, = buffers.convolve(x, Convolution(c.latent_channels, kernel=1), last=True)
    x, = buffers.convolve(x, Convolution(channels[0]), last=True)
    x = buffers.middle(x, c.mid_block_add_attention)
    for i, wide in enumerate(channels):
        for _ in range(c.layers_per_block + 1):
            x = buffers.resnet(x, wide)
        pool.trim()
        if i < len(channels) - 1:
            x, = buffers.convolve(x, Convolution(wide, up=2), last=True)
    pixels = buffers.whole(height, width, 3)
    buffers.convolve(x, Convolution(3, norm=True, into=pixels), last=True)
    pool.take(height * width)  # bytes r g b a, and their way to the CPU
    return max(pool.peak, pool.live + 4 * height * width)


def encoding_bytes(c: "AutoencoderConfig", width: int, height: int) -> int:
    """The most at once for a reference image of so many pixels."""
    assert c.encoder, "asked only where images can be encoded"
    buffers, channels = Buffers(c.norm_num_groups), c.encoder.block_out_channels
    x, = buffers.convolve(buffers.whole(height, width, 3), Convolution(channels[0]), last=True)
    for i, wide in enumerate(channels):
        for _ in range(c.layers_per_block):
            x = buffers.resnet(x, wide)
        buffers.pool.trim()
        if i < len(channels) - 1:
            x, = buffers.convolve(x, Convolution(wide, down=2), last=True)
    x = buffers.middle(x, c.mid_block_add_attention)
    moments = buffers.whole(*x.shape[:2], 2 * c.latent_channels)
    buffers.convolve(x, Convolution(2 * c.latent_channels, norm=True, into=moments), last=True)
    return buffers.pool.peak
