"""The sky at 256 pixels with sun, moon, clouds and two ridges of hills; rain and snow."""

import numpy as np

from ..canvas import HORIZON, blend, rgb
from ..draw import HILL, SKY
from .canvas import COLS, ROWS, SIDE, UNIT, disc, glow, inside, places, window
from .texture import grain

# Where things lie in a cell of the latents, as fractions of its side.
SPOTS = [np.array(at) for at in ((.2, .25), (.7, .2), (.45, .5), (.8, .6), (.2, .75), (.6, .85))]
STARS, FLAKES, STREAKS = 20, 34, 34
CRATERS = ((-2, -1.4, 1.5), (1.6, 1.2, 1.9), (-.6, 2.8, 1.0), (2.6, -2.6, .9), (-3.8, 1.6, .8))
# x, height above the base, radius of the puffs of a cloud
PUFFS = ((-13, 0, 3.2), (-8, 2.2, 4.6), (-1, 4.2, 6.4), (6, 2.8, 5.2), (12, 0.4, 3.6))


def draw(picture, scene, rng):
    """Paint the sky and the hills; the column of sun or moon, or of a light that is not seen."""
    top, low = map(rgb, SKY[scene.sky])
    height = np.clip(ROWS / HORIZON, 0, 1)[..., None]
    picture[:] = top + (low - top) * height ** 1.15
    side = 1 if rng.random() < .5 else -1
    x, y = 64 + side * rng.uniform(42, 50), rng.uniform(14, 22)
    if scene.sky == "night":
        draw_night(picture, x, y, rng)
    elif scene.sky == "sunset":
        x, y = 64 + side * rng.uniform(40, 48), rng.uniform(64, 74)
        draw_sunset(picture, x, y)
    else:
        clouds = ((x, y + 4, 1), (128 - x, y + 20, .8))
        if scene.sky == "grey":
            draw_overcast(picture)
        for at in clouds:
            draw_cloud(picture, *at, scene.sky)
        x = 20
    draw_hills(picture, scene, rng)
    return x


def draw_night(picture, x, y, rng):
    for star_x, star_y, which in places(rng, SPOTS, STARS):
        if star_y < 76:
            bright = .55 + .15 * (which % 4)
            disc(picture, star_x, star_y, .45, (236, 238, 255), .8, bright)
            if which % 3 == 0:
                glow(picture, star_x, star_y, 2.2, (170, 190, 255), .5)
    glow(picture, x, y, 40, (120, 138, 205), .42)
    glow(picture, x, y, 16, (210, 214, 230), .5)
    disc(picture, x, y, 7, (250, 244, 216))
    for dx, dy, radius in CRATERS:
        disc(picture, x + dx, y + dy, radius, (214, 206, 184), .9, .7)


def draw_sunset(picture, x, y):
    glow(picture, x, y, 70, (255, 196, 110), .6)
    glow(picture, x, y, 22, (255, 232, 170), .8)
    for row, height, colour in ((20, 2.6, (232, 120, 120)), (36, 3.2, (250, 150, 110)),
                                (52, 2.4, (255, 190, 130))):
        band = ROWS - row - 2.4 * np.sin(COLS / 17 + row)
        streak = np.exp(-(band / height) ** 2) * (.5 + .5 * np.sin(COLS / 23 + row * 1.7))
        blend(picture, .5 * streak.clip(0, 1), rgb(colour))
    disc(picture, x, y, 9, (255, 244, 200))


def draw_overcast(picture):
    for row, height in ((8, 9), (28, 8), (48, 9)):
        band = ROWS - row - 3.4 * np.sin(COLS / 15 + row) - 1.6 * np.sin(COLS / 6.4 - row)
        under = np.clip(band / height, 0, 1) * np.clip(1 - band / height, 0, 1) * 2
        blend(picture, .4 * under * (band < height), rgb((112, 118, 128)))


def draw_cloud(picture, x, y, scale, sky):
    """Puffs on a flat base, light above and grey below."""
    box = window(x - 20 * scale, y - 14 * scale, x + 20 * scale, y + 6 * scale)
    distance = np.min([np.hypot(COLS[box] - x - scale * dx, ROWS[box] - y + scale * up)
                       - scale * radius for dx, up, radius in PUFFS], 0)
    distance = np.maximum(distance, (ROWS[box] - y - 2.2 * scale) * .9)
    coverage = np.clip(.5 - distance / 1.3, 0, 1)
    bright, dark = (((255, 255, 255), (190, 212, 236)) if sky == "blue"
                    else ((196, 200, 206), (140, 146, 156)))
    shade = np.clip((ROWS[box] - y + 3 * scale) / (6 * scale) + .28 * distance / scale, 0, 1)
    blend(picture, .93 * coverage, rgb(bright) + shade[..., None] * (rgb(dark) - rgb(bright)), box)


def draw_hills(picture, scene, rng):
    """A hazy ridge, and a nearer one with trees on it."""
    phase, hill = rng.uniform(0, 6.3), rgb(HILL[scene.sky])
    low = rgb(SKY[scene.sky][1])
    box = window(0, 66, SIDE / UNIT, HORIZON)
    columns = COLS[box][:1]
    far = 79 + 4.5 * np.sin(columns / 21 + 2 * phase) + 1.4 * np.sin(columns / 7 + phase)
    blend(picture, inside(far - ROWS[box]), .45 * hill + .55 * low, box)
    crest = 84 + 4 * np.sin(columns / 15 + phase) + 2 * np.sin(columns / 6.5 + 2 * phase)
    firs = crest - 1.7 * np.abs((columns + .5) % 4 - 2) * (.6 + .4 * np.sin(columns * np.pi / 8))
    haze = np.clip((ROWS[box] - crest) / 12, 0, 1)[..., None]
    colour = hill * (.9 + .06 * grain()[box])[..., None]
    blend(picture, inside(firs - ROWS[box]), colour + .3 * haze * (low - colour), box)


def draw_weather(picture, scene, rng):
    if scene.weather == "snow":
        for x, y, which in places(rng, SPOTS, FLAKES):
            radius = 1.2 + .22 * (which % 4)
            glow(picture, x, y, radius + 1.5, (235, 242, 255), .45)
            disc(picture, x, y, radius, (253, 254, 255), .7)
    elif scene.weather == "rain":
        for x, y, _ in places(rng, SPOTS, STREAKS):
            box = window(x - 3, y - 7, x + 3, y + 7)
            along = (ROWS[box] - y) / 6.5
            offset = np.abs(COLS[box] - x + 2 * along)
            streak = np.clip(1.15 - 1.4 * offset, 0, 1) * np.clip(1 - along ** 4, 0, 1)
            blend(picture, .62 * streak * (.75 + .25 * along), rgb((214, 228, 244)), box)
