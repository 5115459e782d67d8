"""The few shapes that scenes are painted with, on a picture f32 [128, 128, 3] of values 0..1."""

import numpy as np

SIDE = 128
HORIZON = 92
ROWS, COLS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def rgb(colour):
    return np.asarray(colour, np.float32) / 255


def blend(picture, coverage, colour, box=None):
    """Lay `colour` ([3] or [h, w, 3]) over the picture where coverage f32 [h, w] is above 0."""
    region = picture if box is None else picture[box]
    region += coverage[..., None] * (colour - region)


def window(left, top, right, bottom):
    """The slices of a rectangle in pixels, clipped to the picture."""
    rows = slice(min(max(int(top), 0), SIDE), max(min(int(bottom) + 2, SIDE), 0))
    columns = slice(min(max(int(left), 0), SIDE), max(min(int(right) + 2, SIDE), 0))
    return rows, columns


def disc(picture, x, y, radius, colour, softness=1.0, opacity=1.0):
    reach = radius + softness
    box = window(x - reach, y - reach, x + reach, y + reach)
    distance = np.hypot(COLS[box] - x, ROWS[box] - y) - radius
    blend(picture, opacity * np.clip(.5 - distance / softness, 0, 1), rgb(colour), box)


def column(picture, top, centre, half, colour, shade):
    """A body given row by row from row `top` on: centre and half width f32 [h]; shade(u) over
    u in -1..1 across it."""
    rows = slice(top, top + len(centre))
    offset = COLS[rows] - centre[:, None]
    coverage = np.clip(half[:, None] - np.abs(offset) + .5, 0, 1)
    blend(picture, coverage, rgb(colour) * shade(offset / half[:, None])[..., None], rows)
