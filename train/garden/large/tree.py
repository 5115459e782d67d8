"""The tree at 256 pixels: ../tree.py's trunk, leans and forms, with bark, leaves and moonlight."""

import numpy as np

from ..canvas import blend, rgb
from ..tree import BALL, BARK, PUFFS, SNOW, TRUNK, Tree
from .canvas import COLS, ROWS, inside, window
from .texture import grain, leaves

MOONLIGHT = (178, 196, 255)
RAGGED = 1.7            # units by which leaves stand out of an outline
PETALS = {"pink": (255, 226, 238), "white": (255, 250, 226)}


def draw(picture, scene, x, y, scale, rng):
    """Paint the tree of a scene with its root at (x, y)."""
    plant = Tree(scene, x, y, scale, rng)
    {"cloud": draw_cloud, "round": draw_round, "pine": draw_pine,
     "weeping": draw_weeping}[scene.tree](picture, plant)


def bark(tree, box, u, along):
    """Colours [h, w, 3] of wood at u in -1..1 across it and `along` it in units."""
    ridges = np.sin(6.5 * np.arcsin(np.clip(u, -1, 1)) + 1.3 * np.sin(along * .42))
    light = .98 - .42 * u - .3 * u * u + .13 * ridges + .16 * grain()[box]
    colour = rgb(BARK) * tree.ambient * np.clip(light, .3, 1.6)[..., None]
    if tree.scene.sky == "night":
        colour = colour + .22 * np.clip(-u - .45, 0, 1)[..., None] * rgb(MOONLIGHT)
    return np.clip(colour, 0, 1)


def draw_trunk(picture, tree, top=1.0):
    """The trunk up to height `top`, with roots that spread."""
    scale = tree.scale
    length = scale * TRUNK * top
    box = window(tree.x - 45 * scale, tree.y - length, tree.x + 45 * scale, tree.y + 1)
    t = ((tree.y - ROWS[box][:, :1]) / (scale * TRUNK)).clip(0, 1)
    half = scale * (2 + 3.4 * (1 - t) + 5 * np.clip(.13 - t, 0, 1) ** 2 / .0169)
    u = (COLS[box] - tree.at(t)[0]) / half
    coverage = inside((np.abs(u) - 1) * half) * inside(ROWS[box] - tree.y)
    blend(picture, coverage, bark(tree, box, u.clip(-1, 1), (tree.y - ROWS[box]) / scale), box)


def draw_branch(picture, tree, t, x, y):
    """A branch from the trunk at height t to the point (x, y)."""
    root_x, root_y = tree.at(t)
    box = window(min(root_x, x), min(root_y, y) - 3, max(root_x, x), max(root_y, y) + 3)
    way = ((COLS[box] - root_x) / (x - root_x)).clip(0, 1)
    half = tree.scale * (2.5 - 1.5 * way)
    u = (ROWS[box] - root_y - (y - root_y) * way ** .7) / half
    blend(picture, inside((np.abs(u) - 1) * half), bark(tree, box, u.clip(-1, 1), COLS[box]), box)


def paint_leaves(picture, tree, box, distance, light, form):
    """Leaves where the signed distance f32 [h, w] is below 0 or a little above; light about 1."""
    tone, height = (tile[box] for tile in leaves(form))
    distance = distance - RAGGED * tree.scale * (height - .4)
    coverage = inside(distance)
    edge = np.clip(1 + distance / 2.2, 0, 1)        # 1 at the outline, where leaves stand alone
    light = np.clip(light, .45, 1.35) * (1 + (.18 - .06 * edge) * tone)
    colour = tree.colour * light[..., None]
    # Shade is cooler and light is warmer than the leaf.
    colour += np.clip(light - 1, 0, 1)[..., None] * (.42, .36, .16)
    colour += np.clip(.8 - light, 0, 1)[..., None] * (-.02, .0, .09)
    if petals := PETALS.get(tree.scene.foliage):
        bloom = np.clip((height - .86) * 9, 0, 1) * np.clip(light, 0, 1)
        colour += (.55 * bloom)[..., None] * (rgb(petals) * tree.ambient - colour)
    if tree.scene.sky == "night":
        colour += .3 * np.clip(light - .95, 0, 1)[..., None] * rgb(MOONLIGHT)
    blend(picture, coverage, np.clip(colour, 0, 1), box)
    return coverage


def draw_puffs(picture, tree, pad, puffs=PUFFS):
    """A cloud of puffs, each lit from above left; `pad` is x, y, half width, half height."""
    x, y, width, height = pad
    box = window(x - width * 1.2, y - height * 1.3, x + width * 1.2, y + height * 1.2)
    dx = (COLS[box] - x)[..., None] / width - puffs[:, 0]
    dy = (ROWS[box] - y)[..., None] / height - 1.1 * puffs[:, 1]
    radius = np.hypot(dx, dy * .9) / puffs[:, 2]
    nearest = radius[..., :-1].argmin(-1)[..., None]
    dx, dy, near = (np.take_along_axis(part, nearest, -1)[..., 0] for part in (dx, dy, radius))
    lit = dx * -.45 + dy * -.9 - (ROWS[box] - y) / height * .28
    light = 1 + .42 * lit - .16 * np.clip(near - .7, 0, .6)
    distance = (radius.min(-1) - 1) * height * .45
    coverage = paint_leaves(picture, tree, box, distance, light, tree.scene.tree)
    if tree.scene.weather == "snow":
        lay_snow(picture, tree, box, coverage * np.clip(3 * (lit - .2), 0, 1))


def lay_snow(picture, tree, box, coverage):
    """Snow on what looks up, in clumps on the leaves."""
    height = leaves(tree.scene.tree)[1][box]
    clumps = np.clip(1.9 * coverage - .9 * (1 - height), 0, 1)
    blend(picture, .96 * clumps, np.clip(rgb(SNOW) * tree.ambient, 0, 1), box)


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
    """One ball of leaves on a bare trunk, over two branches that hold it."""
    draw_trunk(picture, tree, .8)
    x, y = tree.at(.86)
    radius = tree.scale * (26 + tree.jitter(1.5))
    for side in (-1, 1):
        draw_branch(picture, tree, .42, x + side * radius * .5, y + radius * .5)
    draw_puffs(picture, tree, (x, y, radius, radius * .92), BALL)


def draw_pine(picture, tree):
    """Four tiers of a cone, the lowest first."""
    draw_trunk(picture, tree, .9)
    scale = tree.scale
    for t, width, height in ((.38, 27, 24), (.62, 22, 22), (.86, 17, 20), (1.08, 11.5, 18)):
        x, low = tree.at(t)
        low, width = low + scale * 6, scale * (width + tree.jitter(1.5))
        high = low - scale * height
        box = window(x - width - 3, high - 3, x + width + 3, low + 4)
        offset, depth = COLS[box] - x, ((ROWS[box] - high) / (low - high)).clip(0)
        fringe = scale * 1.8 * np.cos(offset * 2 * np.pi / (scale * 7))
        half = width * depth ** 1.25 + scale * np.clip(4 * depth, 0, .7)
        distance = np.maximum(np.abs(offset) - half, ROWS[box] - low - fringe)
        light = .7 + .5 * depth - .3 * offset / width + .05 * fringe / scale
        coverage = paint_leaves(picture, tree, box, distance, light, "pine")
        if tree.scene.weather == "snow":
            rim = np.clip(1.5 + (distance - 1) / 2.4, 0, 1) * np.clip(1.25 - depth, 0, 1)
            lay_snow(picture, tree, box, coverage * rim * (distance > -6 * scale))


def draw_weeping(picture, tree):
    """A dome with strands that hang from it, the outer ones longest."""
    draw_trunk(picture, tree, .95)
    x, y = tree.at(1.0)
    scale, count = tree.scale, 11
    for i in (0, 10, 2, 8, 4, 6, 1, 9, 3, 7, 5):
        place = 2 * i / (count - 1) - 1
        top = y + scale * (4 - 6 * (1 - place ** 2))
        length = scale * (20 + 22 * abs(place) + tree.jitter(4))
        middle = x + scale * place * 24
        box = window(middle - 9 * scale, top, middle + 9 * scale, top + length + 1)
        t = ((ROWS[box] - top) / length)[:, :1]
        down = t.clip(0, 1)
        centre = x + scale * (place * (20 + 7 * np.sin(down * 2)) + 1.2 * np.sin(down * 7 + i))
        half = scale * np.sqrt(np.clip(1 - down ** 3, .02, 1)) * 3.6
        offset = COLS[box] - centre
        distance = np.maximum(np.abs(offset) - half, np.maximum(top - ROWS[box],
                                                                ROWS[box] - top - length))
        light = (1.1 - .13 * place - .12 * down) * (.82 if i % 2 else 1) - .2 * offset / half
        paint_leaves(picture, tree, box, distance, light, "weeping")
    draw_puffs(picture, tree, (x, y - scale, scale * (25 + tree.jitter(1.5)), scale * 13))
