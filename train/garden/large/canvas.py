"""What scenes of 256 pixels are painted with, on a picture f32 [256, 256, 3] of values 0..1.

Lengths are those of the scenes of 128 pixels: a pixel is half a unit. Fine texture repeats every
32 pixels and rain, snow and stars keep to places in cells of that side, which are the autoencoder's
latents: what always lies at the same place in a latent costs it and the denoiser nothing.
"""

import numpy as np

from ..canvas import blend, rgb

SIDE = 256
CELL = 32               # pixels
UNIT = 2                # pixels
ROWS, COLS = ((np.mgrid[0:SIDE, 0:SIDE] + .5) / UNIT - .5).astype(np.float32)


def window(left, top, right, bottom):
    """The slices of a rectangle in units, clipped to the picture."""
    def span(first, last):
        first, last = (int(np.floor((edge + .5) * UNIT)) for edge in (first, last))
        return slice(min(max(first - 1, 0), SIDE), max(min(last + 2, SIDE), 0))

    return span(top, bottom), span(left, right)


def inside(distance):
    """Coverage 0..1 of a signed distance in units, below 0 inside."""
    return np.clip(.5 - UNIT * distance, 0, 1)


def disc(picture, x, y, radius, colour, softness=.5, opacity=1.0):
    reach = radius + softness
    box = window(x - reach, y - reach, x + reach, y + reach)
    distance = np.hypot(COLS[box] - x, ROWS[box] - y) - radius
    blend(picture, opacity * np.clip(.5 - distance / softness, 0, 1), rgb(colour), box)


def glow(picture, x, y, radius, colour, opacity):
    """Light that fades from (x, y) on, to nothing at `radius`."""
    box = window(x - radius, y - radius, x + radius, y + radius)
    near = np.clip(1 - np.hypot(COLS[box] - x, ROWS[box] - y) / radius, 0, 1)
    blend(picture, opacity * near * near, rgb(colour), box)


def body(picture, top, bottom, centre, half, colour):
    """A body from row `top` to row `bottom`: centre(t), half(t) in units at t f32 [h, 1], 0 at the
    top; colour(u, t), f32 [h, w, 3], at u in -1..1 across it. Its rows are cut sharply."""
    reach = float(np.max(half(np.linspace(0, 1, 9))))
    places = centre(np.linspace(0, 1, 9))
    box = window(np.min(places) - reach, top, np.max(places) + reach, bottom)
    t = np.clip((ROWS[box][:, :1] - top) / (bottom - top), 0, 1)
    offset, width = COLS[box] - centre(t), half(t)
    coverage = inside(np.abs(offset) - width)
    coverage = coverage * inside(top - ROWS[box]) * inside(ROWS[box] - bottom)
    blend(picture, coverage, colour(np.clip(offset / width, -1, 1), t), box)


def places(rng, offsets, count):
    """`count` different cells, each with one of the `offsets`: (x, y, which) in units."""
    across = SIDE // CELL
    for cell in rng.choice(across * across, count, replace=False):
        which = int(rng.integers(len(offsets)))
        y, x = (np.array(divmod(int(cell), across)) + offsets[which]) * CELL / UNIT
        yield x - .5, y - .5, which
