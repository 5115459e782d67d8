"""Bonsai scenes as attributes: eight of them, each by name, and a seed for everything else.

A scene is a line of a data set that is drawn on the fly: `random_scene(seed)` chooses the
attributes, `draw.draw(scene)` paints it, `caption.caption(scene, rng)` describes it. Pairs of
values in HELD_OUT never occur together in a training scene, so that prompts which name both
measure composition.
"""

from dataclasses import asdict, dataclass

import numpy as np

FOLIAGE = ("green", "red", "pink", "yellow", "white", "orange", "purple")
TREE = ("cloud", "round", "pine", "weeping")
LEAN = ("left", "upright", "right")
SIZE = ("small", "medium", "large")
POT = ("blue", "red", "white", "black", "green", "brown", "yellow")
POT_SHAPE = ("round", "square", "tall")
SKY = ("blue", "sunset", "night", "grey")
WEATHER = ("clear", "rain", "snow")
ATTRIBUTES = {"foliage": FOLIAGE, "tree": TREE, "lean": LEAN, "size": SIZE, "pot": POT,
              "pot_shape": POT_SHAPE, "sky": SKY, "weather": WEATHER}

# One pot colour for each foliage colour, and three pairs of other attributes.
HELD_OUT = (
    *(("foliage", colour, "pot", POT[(2 * i + 3) % 7]) for i, colour in enumerate(FOLIAGE)),
    ("tree", "weeping", "sky", "night"), ("tree", "pine", "sky", "sunset"),
    ("lean", "left", "size", "small"), ("pot_shape", "tall", "weather", "snow"),
)


@dataclass(frozen=True)
class Scene:
    """One picture: eight named attributes (see ATTRIBUTES) and the seed of everything else."""

    foliage: str
    tree: str
    lean: str
    size: str
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


def held_out_pairs(attributes):
    """The entries of HELD_OUT that the attributes (name to value) contain."""
    return [pair for pair in HELD_OUT
            if attributes.get(pair[0]) == pair[1] and attributes.get(pair[2]) == pair[3]]


def any_scene(seed):
    """The scene of a seed; every attribute is uniform and independent, pairs are not held out."""
    rng = np.random.default_rng((seed, 5))
    return Scene(**choose(rng), seed=seed)


def random_scene(seed):
    """The training scene of a seed: as any_scene, drawn again while it holds a held-out pair."""
    rng = np.random.default_rng((seed, 1))
    while held_out_pairs(chosen := choose(rng)):
        pass
    return Scene(**chosen, seed=seed)


def choose(rng):
    return {name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()}
