"""Paints a scene at 256 pixels: uint8 [256, 256, 3] from its attributes and seed.

Colours, extents and places are those of ../draw.py; ground, sky and weather are in ground.py and
sky.py beside it, the tree in tree.py.
"""

import numpy as np

from .. import tree as small_tree
from ..canvas import blend, rgb
from ..draw import BOTTOM, POT, POT_EXTENT, SCALE
from . import ground, sky, tree
from .canvas import COLS, ROWS, SIDE, body, inside, window


def draw(scene):
    """The picture of a scene: uint8 [256, 256, 3], the same for the same scene."""
    rng = np.random.default_rng((scene.seed, 2))
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    light = sky.draw(picture, scene, rng)
    ground.draw(picture, scene, rng)
    scale = SCALE[scene.size] * rng.uniform(.965, 1.035)
    x = 64 + rng.uniform(-4, 4) - 6 * small_tree.LEAN[scene.lean]
    width, height = (extent * scale * rng.uniform(.95, 1.05)
                     for extent in POT_EXTENT[scene.pot_shape])
    rim = BOTTOM - height
    ground.lay_shadow(picture, scene, x, width, scale, light)
    draw_pot(picture, scene, x, rim, width, scale)
    tree.draw(picture, scene, x, rim - 1.4, scale, rng)
    sky.draw_weather(picture, scene, rng)
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)


def glaze(tint, u, t, flat):
    """Colours [h, w, 3] of glazed clay at u across and t down; `flat` sides meet in edges."""
    if flat:
        light = 1.02 - .12 * u - .3 * np.clip(np.abs(u) - .86, 0, 1) - .1 * t
        shine = .2 * np.exp(-((u + .62) / .05) ** 2) + .1 * np.exp(-((t - .1) / .06) ** 2)
    else:
        light = 1.14 - .52 * (u + .3) ** 2 - .12 * t
        shine = .5 * np.exp(-((u + .46) / .09) ** 2) + .14 * np.exp(-((u - .72) / .07) ** 2)
    shine = shine * np.clip(1.15 - t, 0, 1) * np.clip(t * 9, 0, 1)
    colour = tint * light[..., None]
    return np.clip(colour + shine[..., None] * (1.04 - .6 * colour), 0, 1)


def draw_pot(picture, scene, x, rim, width, scale):
    """A glazed pot with a lip, a band and feet, and moss in it."""
    tint = np.asarray(POT[scene.pot], np.float32) / 255 * small_tree.AMBIENT[scene.sky]
    flat = scene.pot_shape == "square"
    height = BOTTOM - rim
    profile = {"round": lambda t: np.sqrt(np.clip(1 - .72 * t ** 2.2, 0, 1)),
               "square": lambda t: 1 - .1 * t, "tall": lambda t: 1 - .22 * t ** 1.5}

    def wall(u, t):
        colour = glaze(tint, u, t, flat)
        band = np.clip(1 - np.abs(t - .3) * height * 1.6, 0, 1) * (t > 0)
        under = .38 * np.clip(1 - t * height / 2.2, 0, 1)       # the lip
        dark = under + .3 * band + 2.4 * np.clip(t - .9, 0, 1)
        return colour * (1 - np.clip(dark, 0, .5))[..., None]

    for side in (-1, 1) if scene.pot_shape != "tall" else (0,):
        foot = width * (.14 if side else .72)
        body(picture, BOTTOM - 2.6 * scale, BOTTOM + .8,
             lambda t, place=x + side * width * .5: place + 0 * t,
             lambda t, half=foot: half + 0 * t, lambda u, t: tint * (.62 - .2 * u)[..., None])
    body(picture, rim, BOTTOM - (1.2 * scale), lambda t: x + 0 * t,
         lambda t: width * profile[scene.pot_shape](t), wall)
    body(picture, rim - 2, rim + 1.6 * scale, lambda t: x + 0 * t,
         lambda t: width + 2.4 * scale - 1.2 * scale * np.clip(2 * t - 1, 0, 1) ** 2,
         lambda u, t: np.clip(glaze(tint * 1.06 + .02, u, .25 + 0 * t, flat)
                              * (1.1 - .22 * t)[..., None], 0, 1))
    box = window(x - width, rim - 5, x + width, rim)
    mound = np.hypot((COLS[box] - x) / (width * .88), (ROWS[box] - rim + 1.6) / 3.0)
    moss = ground.moss(box) * small_tree.AMBIENT[scene.sky]
    if scene.weather == "snow":
        moss = moss + .8 * np.clip(rim - 2.2 - ROWS[box], 0, 1)[..., None] * (1 - moss)
    blend(picture, inside((mound - 1) * 3) * inside(ROWS[box] - rim + 1.6), moss, box)
    if scene.sky == "night":
        edge = window(x - width - 3, rim - 3, x + width + 3, BOTTOM)
        lit = np.clip(1 - np.abs(COLS[edge] - x + width * .93) / 1.6, 0, 1)
        lit = lit * inside(rim - ROWS[edge]) * inside(ROWS[edge] - BOTTOM + height / 3)
        blend(picture, .2 * lit, rgb(tree.MOONLIGHT), edge)
