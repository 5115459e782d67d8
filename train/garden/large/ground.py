"""The ground at 256 pixels: planks, wet stone with ripples, or snow; shadows and moss."""

import numpy as np

from ..canvas import HORIZON, blend, rgb
from ..draw import BOTTOM, GROUND, SKY
from ..tree import AMBIENT
from .canvas import COLS, ROWS, SIDE, UNIT, inside, places, window
from .texture import grain, leaves

VANISHING = 58          # row in which the planks' edges would meet
PLANK = 22.0            # width of a plank in units, in the lowest row
RIPPLES = [np.array(at) for at in ((.3, .3), (.7, .25), (.35, .75), (.72, .7))]  # in a cell


def draw(picture, scene, rng):
    box = window(0, HORIZON, SIDE / UNIT, SIDE / UNIT)
    depth = (ROWS[box] - HORIZON) / (SIDE / UNIT - HORIZON)
    paint = {"clear": planks, "rain": stone, "snow": drifts}[scene.weather]
    near = rgb(GROUND[scene.weather]) * np.asarray(AMBIENT[scene.sky], np.float32)
    colour = near * paint(box, depth)[..., None]
    if scene.weather == "rain":                     # wet, so the sky is seen in it
        mirrored = rgb(SKY[scene.sky][1]) * .9 + rgb(SKY[scene.sky][0]) * .1
        colour += (.34 * (1 - depth) ** 1.5)[..., None] * (mirrored - colour)
    if scene.sky == "sunset":
        colour += (.2 * (1 - depth) ** 2)[..., None] * rgb((255, 150, 70))
    elif scene.sky == "night":
        colour += .1 * np.exp(-((depth - .1) / .16) ** 2)[..., None] * rgb((150, 170, 235))
    blend(picture, inside(HORIZON - ROWS[box]), np.clip(colour, 0, 1), box)
    if scene.weather == "rain":
        draw_ripples(picture, scene, rng)


def planks(box, depth):
    """Brightness [h, w] of boards that run towards the horizon."""
    spread = (ROWS[box] - VANISHING) / (SIDE / UNIT - VANISHING)
    across = (COLS[box] - 63.5) / spread / PLANK + .5
    number, place = np.floor(across), across % 1
    gap = np.clip(1 - np.minimum(place, 1 - place) * spread * PLANK * 1.4, 0, 1)
    tone = .05 * np.sin(number * 2.4) + .05 * np.sin(across * 41 + 3 * np.sin(number + depth * 6))
    return .82 + .22 * depth + tone + .05 * grain()[box] - .42 * gap


def stone(box, depth):
    return .74 + .22 * depth + .1 * grain()[box]


def drifts(box, depth):
    wave = np.sin(COLS[box] / 13 + 7 * depth) + .6 * np.sin(COLS[box] / 5.3 - 11 * depth)
    return .9 + .08 * depth + .028 * wave + .02 * grain()[box]


def draw_ripples(picture, scene, rng):
    """Rings where drops fall, wider than high."""
    light = rgb(SKY[scene.sky][1]) * .6 + .4
    for x, y, _ in places(rng, RIPPLES, 40):
        if y < HORIZON + 3:
            continue
        wide = 3 + 5 * (y - HORIZON) / (SIDE / UNIT - HORIZON)
        box = window(x - wide - 2, y - wide / 2, x + wide + 2, y + wide / 2)
        radius = np.hypot((COLS[box] - x) / wide, (ROWS[box] - y) / (wide * .3))
        rings = np.exp(-((radius - .9) / .14) ** 2) + .7 * np.exp(-((radius - .42) / .14) ** 2)
        blend(picture, .62 * np.clip(rings, 0, 1), light, box)


def lay_shadow(picture, scene, x, width, scale, light):
    """The pot's shadow, away from the light at column `light`, and what wet ground mirrors."""
    away = 5 * np.sign(x - light) * scale
    box = window(x - 2 * width - 8, BOTTOM - 12, x + 2 * width + 8, SIDE / UNIT)
    spread = np.hypot((COLS[box] - x - away) / (width * 1.3), (ROWS[box] - BOTTOM) / (6.5 * scale))
    depth = {"clear": .55, "rain": .5, "snow": .42}[scene.weather]
    tint = (58, 70, 112) if scene.weather == "snow" else (34, 26, 38)
    blend(picture, depth * np.clip(1.15 - spread, 0, 1), rgb(tint), box)


def moss(box):
    """Colours [h, w, 3] of moss."""
    return rgb((84, 108, 50)) * (1 + .3 * leaves("cloud")[0][box])[..., None]
