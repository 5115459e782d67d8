"""Procedural bonsai scenes: seven trees, seven pots, three pot shapes, four skies, three weathers.

`draw(scene)` returns a picture uint8 [128, 128, 3]. A scene is its attributes and a seed, so the
whole data set is a list of integers. Shapes are coverage masks of signed distances in pixels,
hence anti-aliased without supersampling.
"""

from dataclasses import asdict, dataclass

import numpy as np

SIDE = 128
HORIZON = 92

FOLIAGE = {
    "green": (56, 140, 62), "red": (198, 38, 38), "pink": (246, 148, 186),
    "yellow": (240, 206, 56), "white": (238, 240, 238), "orange": (236, 128, 36),
    "purple": (140, 84, 194),
}
POT = {
    "blue": (44, 92, 196), "red": (172, 36, 44), "white": (236, 234, 228),
    "black": (40, 40, 46), "green": (62, 138, 96), "brown": (150, 88, 54),
    "yellow": (226, 184, 58),
}
POT_SHAPE = ("round", "square", "tall")
SKY = {  # top of the picture, horizon
    "blue": ((74, 148, 232), (196, 228, 250)), "sunset": ((196, 84, 120), (255, 190, 96)),
    "night": ((10, 14, 46), (44, 58, 112)), "grey": ((134, 140, 148), (196, 200, 204)),
}
WEATHER = ("clear", "rain", "snow")
ATTRIBUTES = {"foliage": tuple(FOLIAGE), "pot": tuple(POT), "pot_shape": POT_SHAPE,
              "sky": tuple(SKY), "weather": WEATHER}

AMBIENT = {"blue": (1, 1, 1), "sunset": (1.02, .95, .9), "night": (.84, .85, .96),
           "grey": (.93, .94, .95)}
HILL = {"blue": (126, 172, 172), "sunset": (150, 84, 110), "night": (24, 32, 68),
        "grey": (150, 158, 162)}
GROUND = {"clear": (176, 142, 104), "rain": (140, 118, 96), "snow": (232, 238, 246)}
BARK = (104, 70, 46)
# Half width and height in pixels of each pot shape; wide shapes are shallow.
POT_EXTENT = {"round": (25, 21), "square": (28, 19), "tall": (16, 27)}
ROWS, COLS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """One picture: five named attributes (see ATTRIBUTES) and the seed of everything else."""

    foliage: str
    pot: str
    pot_shape: str
    sky: str
    weather: str
    seed: int

    def __post_init__(self):
        for name, values in ATTRIBUTES.items():
            if getattr(self, name) not in values:
                raise ValueError(f"Scene: {name} is {getattr(self, name)!r}, expected one of "
                                 f"{', '.join(values)}")

    def attributes(self):
        return {name: value for name, value in asdict(self).items() if name != "seed"}


def random_scene(seed):
    """The scene of a seed; every attribute is uniform and independent."""
    rng = np.random.default_rng((seed, 1))
    chosen = {name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()}
    return Scene(**chosen, seed=seed)


def rgb(colour):
    return np.asarray(colour, np.float32) / 255


def blend(picture, coverage, colour, box=None):
    """Lay `colour` ([3] or [h, w, 3]) over the picture where coverage f32 [h, w] is above 0."""
    region = picture if box is None else picture[box]
    region += coverage[..., None] * (colour - region)


def window(left, top, right, bottom):
    """The slices of a rectangle in pixels, clipped to the picture."""
    rows = slice(max(int(top), 0), min(int(bottom) + 2, SIDE))
    columns = slice(max(int(left), 0), min(int(right) + 2, SIDE))
    return rows, columns


def disc(picture, x, y, radius, colour, softness=1.0, opacity=1.0):
    reach = radius + softness
    box = window(x - reach, y - reach, x + reach, y + reach)
    distance = np.hypot(COLS[box] - x, ROWS[box] - y) - radius
    blend(picture, opacity * np.clip(.5 - distance / softness, 0, 1), rgb(colour), box)


def draw_sky(picture, scene, rng):
    top, low = map(rgb, SKY[scene.sky])
    t = np.clip(ROWS / HORIZON, 0, 1)[..., None]
    picture[:] = top + (low - top) * t
    side = 1 if rng.random() < .5 else -1
    x, y = 64 + side * rng.uniform(42, 50), rng.uniform(14, 22)
    if scene.sky == "night":
        for star_x, star_y in rng.uniform((4, 3), (124, 70), (12, 2)):
            disc(picture, star_x, star_y, .8, (226, 230, 255), 1.2)
        disc(picture, x, y, 9, (150, 160, 200), 14, .5)
        disc(picture, x, y, 7, (250, 244, 214))
    elif scene.sky == "sunset":
        x, y = 64 + side * rng.uniform(38, 48), rng.uniform(64, 74)
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


def draw_ground(picture, scene):
    near = rgb(GROUND[scene.weather]) * AMBIENT[scene.sky]
    box = window(0, HORIZON, SIDE, SIDE)
    depth = (ROWS[box] - HORIZON) / (SIDE - HORIZON)
    blend(picture, np.clip(ROWS[box] - HORIZON + .5, 0, 1),
          (near * (.84 + .2 * depth[..., None])), box)


def column(picture, top, bottom, centre, half, colour, shade):
    """A body given row by row: centre and half width f32 [h]; shade(u) over u in -1..1."""
    rows = slice(int(top), int(bottom))
    u = (COLS[rows] - centre[:, None]) / half[:, None]
    coverage = np.clip(half[:, None] - np.abs(COLS[rows] - centre[:, None]) + .5, 0, 1)
    blend(picture, coverage, rgb(colour) * shade(u)[..., None], rows)


def draw_pot(picture, scene, x, rim, width, height):
    bottom = int(rim + height)
    tint = np.asarray(POT[scene.pot], np.float32) * AMBIENT[scene.sky]
    shadow = np.clip(1.1 - np.hypot((COLS - x - 3) / (width * 1.15), (ROWS - bottom) / 6), 0, 1)
    blend(picture, .45 * shadow, rgb((40, 30, 40)))
    t = (np.arange(int(rim), bottom, dtype=np.float32) - rim) / height
    profile = {"round": np.sqrt(np.clip(1 - .72 * t ** 2.2, 0, 1)), "square": 1 - .1 * t,
               "tall": 1 - .22 * t ** 1.5}[scene.pot_shape]
    if scene.pot_shape == "square":
        def shade(u):
            return .98 - .1 * u - .25 * np.clip(np.abs(u) - .86, 0, 1)
        for side in (-1, 1):
            foot = np.full(3, x + side * width * .68, np.float32)
            column(picture, bottom, bottom + 3, foot, np.full(3, 4.5, np.float32), tint * .7, shade)
    else:
        def shade(u):
            return 1.12 - .5 * (np.clip(u, -1.1, 1.1) + .3) ** 2
    centre = np.full(bottom - int(rim), x, np.float32)
    column(picture, rim, bottom, centre, width * profile, tint, shade)
    column(picture, rim - 2, rim + 2, centre[:4], np.full(4, width + 2.5, np.float32),
           np.minimum(tint * 1.1 + 6, 255), shade)
    soil = window(x - width, rim - 4, x + width, rim - 1)
    mound = np.hypot((COLS[soil] - x) / (width * .86), (ROWS[soil] - rim + 2) / 3.2)
    blend(picture, np.clip((1 - mound) * 3, 0, 1), rgb((74, 92, 52)), soil)


def trunk_x(t, x, lean):
    """Centre of the S-curved trunk at height t (0 root, 1 crown)."""
    return x + lean * (9 * np.sin(2.6 * t) - 9 * t * t)


def draw_trunk(picture, scene, x, rim, lean, pads):
    bark = np.asarray(BARK, np.float32) * AMBIENT[scene.sky]

    def shade(u):
        return 1.05 - .35 * (np.clip(u, -1, 1) + .2)

    top = 34
    t = 1 - (np.arange(top, int(rim)) - top) / (rim - top).astype(np.float32)
    half = 2 + 3.6 * (1 - t) + 3 * np.clip(.12 - t, 0, 1) / .12
    column(picture, top, rim, trunk_x(t, x, lean), half.astype(np.float32), bark, shade)
    for pad_x, pad_y, *_ in pads[:-1]:
        root = float(np.clip((rim - pad_y - 10) / (rim - top), .15, .9))
        start_x, start_y = trunk_x(root, x, lean), rim - root * (rim - top)
        s = np.linspace(0, 1, 24, dtype=np.float32)
        for u in s:
            disc(picture, start_x + (pad_x - start_x) * u, start_y + (pad_y - start_y) * u ** .7,
                 2.6 - 1.2 * u, bark * .92)


PUFFS = np.array([(-.62, .12, .38), (-.3, -.22, .42), (.06, -.34, .46), (.4, -.16, .42),
                  (.68, .14, .36), (0, .2, .6)], np.float32)  # x, y, radius in units of the pad


def draw_pad(picture, scene, pad):
    """A cloud of puffs, each lit from above left; `pad` is x, y, half width, half height."""
    x, y, width, height = pad
    box = window(x - width * 1.1, y - height, x + width * 1.1, y + height)
    dx = (COLS[box] - x)[..., None] / width - PUFFS[:, 0]
    dy = (ROWS[box] - y)[..., None] / height - 1.15 * PUFFS[:, 1]
    radius = np.hypot(dx, dy * .9) / PUFFS[:, 2]
    nearest = radius[..., :5].argmin(-1)[..., None]
    lit = (np.take_along_axis(dx, nearest, -1)[..., 0] * -.35
           + np.take_along_axis(dy, nearest, -1)[..., 0] * -.8 - (ROWS[box] - y) / height * .25)
    light = np.clip(.98 + .34 * lit, .6, 1.3)[..., None]
    colour = rgb(FOLIAGE[scene.foliage]) * AMBIENT[scene.sky]
    coverage = np.clip((1 - radius.min(-1)) * height * .45 + .5, 0, 1)
    blend(picture, coverage, np.clip(colour * light + .12 * np.clip(light - 1, 0, 1), 0, 1), box)
    if scene.weather == "snow":
        cap = coverage * np.clip(-.35 - (ROWS[box] - y) / height, 0, .25) * 3.2
        blend(picture, cap, rgb((246, 250, 255)) * AMBIENT[scene.sky], box)


def draw_weather(picture, scene, rng):
    if scene.weather == "snow":
        for x, y in rng.uniform((2, 2), (126, 120), (40, 2)):
            disc(picture, x, y, rng.uniform(1.2, 1.9), (252, 253, 255), 1.2)
    elif scene.weather == "rain":
        for x, y in rng.uniform((2, -6), (134, 112), (34, 2)):
            box = window(x - 5, y, x + 2, y + 12)
            along = (ROWS[box] - y) / 12
            offset = np.abs(COLS[box] - x + 4 * along)
            streak = np.clip(1.3 - offset, 0, 1) * np.clip(1 - (2 * along - 1) ** 4, 0, 1)
            blend(picture, .55 * streak, rgb((206, 222, 240)), box)


def tree_pads(rng, x, lean):
    """Four pads, lowest first; the last, biggest one crowns the trunk."""
    def jitter(amount):
        return rng.uniform(-amount, amount)

    return [(x + lean * 24 + jitter(2.5), 62 + jitter(2), 19 + jitter(2), 10 + jitter(1)),
            (x - lean * 25 + jitter(2.5), 56 + jitter(2), 20 + jitter(2), 10.5 + jitter(1)),
            (x + lean * 19 + jitter(2), 44 + jitter(2), 19 + jitter(2), 10.5 + jitter(1)),
            (x - lean * 2 + jitter(2), 34 + jitter(2), 26 + jitter(2.5), 15 + jitter(1.5))]


def draw(scene):
    """Draw a scene: uint8 [128, 128, 3], the same for the same scene."""
    rng = np.random.default_rng((scene.seed, 2))
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    draw_sky(picture, scene, rng)
    draw_ground(picture, scene)
    x = 64 + rng.uniform(-4, 4)
    lean = 1 if rng.random() < .5 else -1
    width, height = POT_EXTENT[scene.pot_shape]
    width, height = width * rng.uniform(.93, 1.07), height * rng.uniform(.95, 1.05)
    rim = np.float32(round(115 - height))
    pads = tree_pads(rng, x, lean)
    draw_pot(picture, scene, x, rim, width, height)
    draw_trunk(picture, scene, x, rim, lean, pads)
    for pad in pads:
        draw_pad(picture, scene, pad)
    draw_weather(picture, scene, rng)
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
