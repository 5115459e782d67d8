"""Paints a scene: uint8 [128, 128, 3] from its attributes and seed.

Shapes are coverage masks of signed distances in pixels, hence anti-aliased without
supersampling. Sky and ground come first, then the pot, the tree (tree.py), the weather.
"""

import numpy as np

from . import tree
from .canvas import COLS, HORIZON, ROWS, SIDE, blend, column, disc, rgb, window

POT = {
    "blue": (44, 92, 196), "red": (172, 36, 44), "white": (236, 234, 228),
    "black": (40, 40, 46), "green": (62, 138, 96), "brown": (150, 88, 54),
    "yellow": (226, 184, 58),
}
SKY = {  # top of the picture, horizon
    "blue": ((74, 148, 232), (196, 228, 250)), "sunset": ((196, 84, 120), (255, 190, 96)),
    "night": ((10, 14, 46), (44, 58, 112)), "grey": ((134, 140, 148), (196, 200, 204)),
}
HILL = {"blue": (126, 172, 172), "sunset": (150, 84, 110), "night": (24, 32, 68),
        "grey": (150, 158, 162)}
GROUND = {"clear": (180, 144, 104), "rain": (112, 116, 124), "snow": (232, 238, 246)}
# Half width and height in pixels of each pot shape at full size; wide shapes are shallow.
POT_EXTENT = {"round": (25, 21), "square": (28, 19), "tall": (16, 27)}
SCALE = {"small": .58, "medium": .79, "large": 1.0}
BOTTOM = 116            # row on which every pot stands


def draw(scene):
    """The picture of a scene: uint8 [128, 128, 3], the same for the same scene."""
    rng = np.random.default_rng((scene.seed, 2))
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    draw_sky(picture, scene, rng)
    draw_ground(picture, scene, rng)
    scale = SCALE[scene.size] * rng.uniform(.965, 1.035)
    x = 64 + rng.uniform(-4, 4) - 6 * tree.LEAN[scene.lean]
    width, height = (extent * scale * rng.uniform(.95, 1.05)
                     for extent in POT_EXTENT[scene.pot_shape])
    rim = BOTTOM - round(height)
    draw_pot(picture, scene, x, rim, width, scale)
    tree.draw(picture, scene, x, rim - 2, scale, rng)
    draw_weather(picture, scene, rng)
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)


def draw_sky(picture, scene, rng):
    top, low = map(rgb, SKY[scene.sky])
    picture[:] = top + (low - top) * np.clip(ROWS / HORIZON, 0, 1)[..., None]
    side = 1 if rng.random() < .5 else -1
    x, y = 64 + side * rng.uniform(42, 50), rng.uniform(14, 22)
    if scene.sky == "night":
        for star_x, star_y in rng.uniform((4, 3), (124, 70), (14, 2)):
            disc(picture, star_x, star_y, .9, (226, 230, 255), 1.2)
        disc(picture, x, y, 9, (150, 160, 200), 14, .5)
        disc(picture, x, y, 7, (250, 244, 214))
    elif scene.sky == "sunset":
        x, y = 64 + side * rng.uniform(40, 48), rng.uniform(64, 74)
        disc(picture, x, y, 11, (255, 214, 120), 16, .7)
        disc(picture, x, y, 9, (255, 240, 186))
    else:
        white = (250, 252, 255) if scene.sky == "blue" else (172, 177, 184)
        for cloud_x, cloud_y in ((x, y), (128 - x, y + 16)):
            for dx, radius in ((-9, 4), (-2, 6), (6, 5), (12, 3)):
                disc(picture, cloud_x + dx, cloud_y - radius / 3, radius, white, 3, .85)
    phase = rng.uniform(0, 6.3)
    crest = 84 + 4 * np.sin(COLS[0] / 15 + phase) + 2 * np.sin(COLS[0] / 6.5 + 2 * phase)
    box = window(0, 74, SIDE, HORIZON)
    blend(picture, np.clip(ROWS[box] - crest + .5, 0, 1), rgb(HILL[scene.sky]), box)


def draw_ground(picture, scene, rng):
    near = rgb(GROUND[scene.weather]) * tree.AMBIENT[scene.sky]
    box = window(0, HORIZON, SIDE, SIDE)
    depth = (ROWS[box] - HORIZON) / (SIDE - HORIZON)
    blend(picture, np.clip(ROWS[box] - HORIZON + .5, 0, 1),
          (near * (.84 + .2 * depth[..., None])), box)
    if scene.weather == "rain":                     # puddles that mirror the sky
        for x, y in rng.uniform((8, HORIZON + 6), (120, SIDE - 6), (5, 2)):
            distance = np.hypot((COLS[box] - x) / 13, (ROWS[box] - y) / 2.6)
            blend(picture, .55 * np.clip((1 - distance) * 3, 0, 1), rgb(SKY[scene.sky][1]), box)


def draw_pot(picture, scene, x, rim, width, scale):
    height = BOTTOM - rim
    tint = np.asarray(POT[scene.pot], np.float32) * tree.AMBIENT[scene.sky]
    shadow = np.clip(
        1.1 - np.hypot((COLS - x - 3) / (width * 1.15), (ROWS - BOTTOM) / (6 * scale)), 0, 1)
    blend(picture, .45 * shadow, rgb((40, 30, 40)))
    t = (np.arange(rim, BOTTOM, dtype=np.float32) - rim) / height
    profile = {"round": np.sqrt(np.clip(1 - .72 * t ** 2.2, 0, 1)), "square": 1 - .1 * t,
               "tall": 1 - .22 * t ** 1.5}[scene.pot_shape]
    if scene.pot_shape == "square":
        def shade(u):
            return .98 - .1 * u - .25 * np.clip(np.abs(u) - .86, 0, 1)
        for side in (-1, 1):
            foot = np.full(3, x + side * width * .68, np.float32)
            column(picture, BOTTOM, foot, np.full(3, 4.5 * scale, np.float32), tint * .7, shade)
    else:
        def shade(u):
            return 1.12 - .5 * (np.clip(u, -1.1, 1.1) + .3) ** 2
    column(picture, rim, np.full(height, x, np.float32), width * profile, tint, shade)
    column(picture, rim - 2, np.full(4, x, np.float32),
           np.full(4, width + 2.5 * scale, np.float32), np.minimum(tint * 1.1 + 6, 255), shade)
    soil = window(x - width, rim - 4, x + width, rim - 1)
    mound = np.hypot((COLS[soil] - x) / (width * .86), (ROWS[soil] - rim + 2) / 3.2)
    blend(picture, np.clip((1 - mound) * 3, 0, 1), rgb((74, 92, 52)), soil)


def draw_weather(picture, scene, rng):
    if scene.weather == "snow":
        for x, y in rng.uniform((2, 2), (126, 120), (40, 2)):
            disc(picture, x, y, rng.uniform(1.3, 2.1), (252, 253, 255), 1.2)
    elif scene.weather == "rain":
        for x, y in rng.uniform((2, -6), (134, 112), (34, 2)):
            box = window(x - 5, y, x + 2, y + 13)
            along = (ROWS[box] - y) / 13
            offset = np.abs(COLS[box] - x + 4 * along)
            streak = np.clip(1.4 - offset, 0, 1) * np.clip(1 - (2 * along - 1) ** 4, 0, 1)
            blend(picture, .65 * streak, rgb((206, 222, 240)), box)
