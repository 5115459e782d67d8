"""The scenes at 256 pixels, and that those at 128 are still what the shipped models learned."""

import hashlib

import numpy as np
import pytest

from train.garden.draw import draw as draw_small
from train.garden.large.canvas import CELL, SIDE
from train.garden.large.draw import draw
from train.garden.large.texture import LEAVES, grain, leaves
from train.garden.scene import ATTRIBUTES, Scene, any_scene

PLAIN = {"foliage": "green", "tree": "cloud", "lean": "upright", "size": "large", "pot": "blue",
         "pot_shape": "round", "sky": "blue", "weather": "clear"}


def test_scenes_of_128_pixels_are_unchanged():
    drawn = b"".join(draw_small(any_scene(seed)).tobytes() for seed in range(12))
    assert (hashlib.sha256(drawn).hexdigest()
            == "da6e07b90f24b115fa848be7ad7e3a95e0afba5f8b47c27b8f129238b9bf9661")


def test_a_scene_is_its_seed():
    first, again = draw(any_scene(5)), draw(any_scene(5))
    assert first.shape == (SIDE, SIDE, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, draw(any_scene(6)))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_changes_the_picture(name):
    pictures = [draw(Scene(**(PLAIN | {name: value}), seed=1)) for value in ATTRIBUTES[name]]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one.astype(int) - other).mean() > 1


def test_a_scene_is_composed_as_at_128_pixels():
    scenes = [any_scene(seed) for seed in range(10)]
    small = np.stack([draw_small(scene) for scene in scenes]).astype(int)
    large = np.stack([draw(scene) for scene in scenes])
    halved = large.reshape(10, 128, 2, 128, 2, 3).mean((2, 4))
    apart = np.abs(halved[:, None] - small).mean((2, 3, 4))     # of every pair
    assert (apart.argmin(1) == np.arange(10)).all() and apart.diagonal().mean() < 14


def test_texture_repeats_in_every_latent():
    for tile in (grain(), *(part for form in LEAVES for part in leaves(form))):
        assert tile.shape == (SIDE, SIDE) and tile.std() > .1
        assert np.array_equal(tile, np.roll(tile, CELL, 0))
        assert np.array_equal(tile, np.roll(tile, CELL, 1))
