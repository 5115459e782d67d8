"""Fine texture, made once: tiles of 32 pixels that the whole picture is covered with."""

from functools import cache

import numpy as np

from .canvas import CELL, SIDE

# Leaves a tile, half length and half width in pixels, and the angle about which they lie, with its
# spread, by the form of the tree.
LEAVES = {
    "cloud": (90, 3.4, 1.7, 0.0, 3.2), "round": (64, 4.2, 2.5, .9, 1.3),
    "pine": (110, 5.6, .95, 1.57, .75), "weeping": (80, 5.4, 1.35, 1.57, .4),
}


@cache
def leaves(form):
    """(light -1..1, height 0..1) of overlapping leaves, each f32 [256, 256]."""
    count, length, width, angle, spread = LEAVES[form]
    rng = np.random.default_rng((len(form), 7))
    rows, columns = np.mgrid[0:CELL, 0:CELL] + .5
    light, height = np.full((CELL, CELL), -1.0), np.zeros((CELL, CELL))
    for depth in np.linspace(0, 1, count):
        y, x = rng.uniform(0, CELL, 2)
        turn = angle + rng.uniform(-spread, spread) / 2
        dx, dy = ((axis - at + CELL / 2) % CELL - CELL / 2
                  for axis, at in ((columns, x), (rows, y)))
        along = (dx * np.cos(turn) + dy * np.sin(turn)) / length
        across = (dy * np.cos(turn) - dx * np.sin(turn)) / width
        radius = np.hypot(along, across * (1 + .4 * along))
        tone = -.55 + 1.1 * depth + .3 * across - .5 * np.clip(radius - .55, 0, 1)
        tone += .18 * (np.abs(across) < .22)
        light = np.where(radius < 1, tone, light)
        height = np.where(radius < 1, .3 + .7 * depth, height)
    copies = SIDE // CELL
    return tuple(np.tile(tile.astype(np.float32), (copies, copies))
                 for tile in (np.clip(light, -1, 1), height))


@cache
def grain():
    """Smooth noise -1..1 of about four pixels, longer across than down, f32 [256, 256]."""
    noise = np.random.default_rng(11).standard_normal((CELL, CELL))
    down, across = np.meshgrid(*[np.fft.fftfreq(CELL)] * 2, indexing="ij")
    kept = np.exp(-(down * 5) ** 2 - (across * 22) ** 2)
    tile = np.fft.ifft2(np.fft.fft2(noise) * kept).real
    return np.tile((tile / np.abs(tile).max()).astype(np.float32), (SIDE // CELL,) * 2)
