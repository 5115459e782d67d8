"""The tree of a scene: a trunk that leans, and foliage in one of four forms.

Lengths are in pixels at full size and shrink with `scale`; the root stands at (x, y).
"""

import numpy as np

from .canvas import COLS, ROWS, blend, column, disc, rgb, window

FOLIAGE = {
    "green": (56, 140, 62), "red": (198, 38, 38), "pink": (246, 148, 186),
    "yellow": (240, 206, 56), "white": (238, 240, 238), "orange": (236, 128, 36),
    "purple": (140, 84, 194),
}
AMBIENT = {"blue": (1, 1, 1), "sunset": (1.02, .95, .9), "night": (.84, .85, .96),
           "grey": (.93, .94, .95)}
BARK = (104, 70, 46)
SNOW = (246, 250, 255)
LEAN = {"left": -1, "upright": 0, "right": 1}
TRUNK = 58              # height of the trunk
REACH = 25              # how far a leaning trunk carries its crown to the side

# x, y, radius of the puffs of a pad, in units of its half width and half height
PUFFS = np.array([(-.62, .12, .38), (-.3, -.22, .42), (.06, -.34, .46), (.4, -.16, .42),
                  (.68, .14, .36), (0, .2, .6)], np.float32)
# The same of a ball, which is as high as wide
BALL = np.array([(-.52, .2, .44), (-.38, -.34, .46), (.06, -.5, .46), (.46, -.26, .46),
                 (.54, .24, .42), (0, .42, .44), (0, 0, .55)], np.float32)


class Tree:
    """Where things are: `at(t)` is the trunk's centre at height t (0 root, 1 crown)."""

    def __init__(self, scene, x, y, scale, rng):
        self.scene, self.x, self.y, self.scale, self.rng = scene, x, y, scale, rng
        self.lean = LEAN[scene.lean]
        self.side = self.lean or (1 if rng.random() < .5 else -1)
        self.reach = self.lean * REACH * rng.uniform(.9, 1.1)
        self.ambient = np.asarray(AMBIENT[scene.sky], np.float32)
        self.colour = rgb(FOLIAGE[scene.foliage]) * self.ambient

    def at(self, t):
        bend = 5 * np.sin(2 * np.pi * t) * (1 - .5 * abs(self.lean))
        across = self.reach * t ** 1.4 + self.side * bend
        return self.x + self.scale * across, self.y - self.scale * TRUNK * t

    def jitter(self, amount):
        return self.rng.uniform(-amount, amount)


def draw(picture, scene, x, y, scale, rng):
    """Paint the tree of a scene with its root at (x, y)."""
    plant = Tree(scene, x, y, scale, rng)
    {"cloud": draw_cloud, "round": draw_round, "pine": draw_pine,
     "weeping": draw_weeping}[scene.tree](picture, plant)


def draw_trunk(picture, tree, top=1.0):
    """The trunk up to height `top`, thicker at the root."""
    length = int(tree.scale * TRUNK * top)
    first = int(tree.y) - length
    t = (tree.y - np.arange(first, int(tree.y) + 1, dtype=np.float32)) / (tree.scale * TRUNK)
    t = t.clip(0, 1)
    half = tree.scale * (2 + 3.4 * (1 - t) + 3 * np.clip(.12 - t, 0, 1) / .12)
    column(picture, first, tree.at(t)[0].astype(np.float32), half.astype(np.float32),
           BARK * tree.ambient, lambda u: 1.05 - .35 * (np.clip(u, -1, 1) + .2))


def draw_branch(picture, tree, t, x, y):
    """A branch from the trunk at height t to the point (x, y)."""
    root_x, root_y = tree.at(t)
    for u in np.linspace(0, 1, 20, dtype=np.float32):
        disc(picture, root_x + (x - root_x) * u, root_y + (y - root_y) * u ** .7,
             max(tree.scale * (2.6 - 1.2 * u), .9), BARK * tree.ambient * .92)


def draw_puffs(picture, tree, pad, puffs=PUFFS):
    """A cloud of puffs, each lit from above left; `pad` is x, y, half width, half height."""
    x, y, width, height = pad
    box = window(x - width * 1.1, y - height * 1.1, x + width * 1.1, y + height * 1.1)
    dx = (COLS[box] - x)[..., None] / width - puffs[:, 0]
    dy = (ROWS[box] - y)[..., None] / height - 1.1 * puffs[:, 1]
    radius = np.hypot(dx, dy * .9) / puffs[:, 2]
    nearest = radius[..., :-1].argmin(-1)[..., None]
    lit = (np.take_along_axis(dx, nearest, -1)[..., 0] * -.35
           + np.take_along_axis(dy, nearest, -1)[..., 0] * -.8 - (ROWS[box] - y) / height * .25)
    coverage = np.clip((1 - radius.min(-1)) * height * .45 + .5, 0, 1)
    paint_leaves(picture, tree, box, coverage, .98 + .34 * lit)
    if tree.scene.weather == "snow":
        cap = coverage * np.clip(-.35 - (ROWS[box] - y) / height, 0, .25) * 3.2
        blend(picture, cap, rgb(SNOW) * tree.ambient, box)


def paint_leaves(picture, tree, box, coverage, light):
    light = np.clip(light, .6, 1.3)[..., None]
    blend(picture, coverage,
          np.clip(tree.colour * light + .12 * np.clip(light - 1, 0, 1), 0, 1), box)


def draw_cloud(picture, tree):
    """Three pads on branches and a crown, as bonsai are pruned."""
    draw_trunk(picture, tree)
    side, scale = tree.side, tree.scale
    pads = []
    for t, reach, width in ((.5, side * 22, 18), (.62, side * -23, 18), (.84, side * 17, 17)):
        x, y = tree.at(t)
        pads.append((t - .2, x + scale * (reach + tree.jitter(2.5)), y + scale * tree.jitter(2),
                     scale * (width + tree.jitter(2)), scale * (10 + tree.jitter(.7))))
    for t, x, y, *_ in pads:
        draw_branch(picture, tree, max(t, .12), x, y)
    for _, *pad in pads:
        draw_puffs(picture, tree, pad)
    x, y = tree.at(1.0)
    draw_puffs(picture, tree, (x, y, scale * (23 + tree.jitter(2)), scale * (14 + tree.jitter(1))))


def draw_round(picture, tree):
    """One ball of leaves on a bare trunk."""
    draw_trunk(picture, tree, .75)
    x, y = tree.at(.86)
    radius = tree.scale * (26 + tree.jitter(1.5))
    draw_puffs(picture, tree, (x, y, radius, radius * .92), BALL)


def draw_pine(picture, tree):
    """Four tiers of a cone, the lowest first."""
    draw_trunk(picture, tree, .9)
    scale, scene = tree.scale, tree.scene
    for t, width, height in ((.38, 27, 24), (.62, 22, 22), (.86, 17, 20), (1.08, 11.5, 18)):
        x, low = tree.at(t)
        low, width = low + scale * 6, scale * (width + tree.jitter(1.5))
        high = low - scale * height
        box = window(x - width - 2, high - 2, x + width + 2, low + 3)
        offset, depth = COLS[box] - x, ((ROWS[box] - high) / (low - high)).clip(0)
        edge = low + scale * 1.6 * np.cos(offset * 2 * np.pi / (scale * 7)) - ROWS[box]
        inside = width * depth ** 1.25 - np.abs(offset)
        coverage = np.clip(inside + .5, 0, 1) * np.clip(edge + .5, 0, 1)
        light = .74 + .42 * depth - .22 * offset / width
        paint_leaves(picture, tree, box, coverage, light)
        if scene.weather == "snow":
            rim = np.clip(1 - np.abs(inside - 1.5) / 2, 0, 1) * np.clip(1.2 - depth, 0, 1)
            blend(picture, coverage * rim * .9, rgb(SNOW) * tree.ambient, box)


def draw_weeping(picture, tree):
    """A dome with strands that hang from it, the outer ones longest."""
    draw_trunk(picture, tree, .95)
    x, y = tree.at(1.0)
    scale, count = tree.scale, 11
    for i in (0, 10, 2, 8, 4, 6, 1, 9, 3, 7, 5):
        place = 2 * i / (count - 1) - 1
        top = int(y + scale * (4 - 6 * (1 - place ** 2)))
        length = int(scale * (20 + 22 * abs(place) + tree.jitter(4)))
        t = np.linspace(0, 1, length, dtype=np.float32)
        centre = x + scale * (place * (20 + 7 * np.sin(t * 2)) + 1.2 * np.sin(t * 7 + i))
        half = scale * np.sqrt(np.clip(1 - t ** 3, .02, 1)) * 3.5
        tone = (1.06 - .1 * place) * (.86 if i % 2 else 1)
        column(picture, top, centre.astype(np.float32), half.astype(np.float32),
               np.clip(tree.colour * 255 * tone, 0, 255), lambda u: 1.02 - .2 * np.clip(u, -1, 1))
    draw_puffs(picture, tree, (x, y - scale, scale * (25 + tree.jitter(1.5)), scale * 13))
