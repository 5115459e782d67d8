"""The classifier that judges, the prompts it judges by, and the statistics of the verdicts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from train.garden import judge
from train.garden.caption import TREE_PHRASES, TREE_WORDS
from train.garden.draw import draw
from train.garden.evaluate import score
from train.garden.figures import frechet, mean_of_columns, share, wilson
from train.garden.prompts import evaluation_prompts, grid_prompts
from train.garden.report import table
from train.garden.scene import ATTRIBUTES, any_scene, held_out_pairs

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="module")
def reader():
    torch.set_num_threads(1)
    return judge.load(MODELS / "garden-judge")


def test_the_judge_reads_fresh_renders(reader):
    scenes = [any_scene(seed) for seed in range(90_000_000, 90_000_120)]
    seen = reader.read(np.stack([draw(scene) for scene in scenes]))
    for name in ATTRIBUTES:
        right = [saw[name] == getattr(scene, name)
                 for saw, scene in zip(seen, scenes, strict=True)]
        assert np.mean(right) >= .98, name


def test_the_judge_sees_what_changed(reader):
    scene = any_scene(90_000_500)
    for name, values in ATTRIBUTES.items():
        other = next(value for value in values if value != getattr(scene, name))
        saw, = reader.read(draw(replace(scene, **{name: other}))[None])
        assert saw == scene.attributes() | {name: other}


def test_a_picture_of_another_size_is_refused(reader):
    with pytest.raises(ValueError, match=r"pictures are uint8 \[1, 64, 64, 3\], expected uint8"):
        reader.read(np.zeros((1, 64, 64, 3), np.uint8))


def test_a_judge_of_larger_pictures_is_read_back(tmp_path):
    torch.manual_seed(0)
    classifier = judge.Classifier(256)
    judge.save(classifier, tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    read = judge.load(tmp_path)
    assert read.side == 256
    assert np.array_equal(read.features(pictures), judge.Judge(classifier).features(pictures))


def test_evaluation_prompts_are_fixed_and_half_of_them_unseen():
    prompts = evaluation_prompts(500)
    assert prompts[:100] == evaluation_prompts(100)
    assert len({prompt.text for prompt in prompts}) == len({prompt.seed for prompt in prompts})
    assert sum(prompt.unseen for prompt in prompts) == 250
    for prompt in prompts:
        assert bool(held_out_pairs(prompt.wanted)) == prompt.unseen
        assert len(prompt.wanted) >= 5
        if tree := prompt.wanted.get("tree"):
            said = TREE_WORDS[tree] + TREE_PHRASES[tree]
            assert any(words in prompt.text.lower() for words in said), prompt.text
    for name, values in ATTRIBUTES.items():
        counts = [sum(prompt.wanted.get(name) == value for prompt in prompts) for value in values]
        assert min(counts) >= 15, name


def test_grid_prompts_cover_all_values_evenly():
    prompts = grid_prompts()
    assert len({prompt.text for prompt in prompts}) == 64
    for name, values in ATTRIBUTES.items():
        counts = [sum(prompt.wanted[name] == value for prompt in prompts) for value in values]
        assert max(counts) - min(counts) <= 1


def test_wilson_against_hand_computed():
    # 8 of 10: (0.8 + 0.1921 -+ 1.96 sqrt(0.016 + 0.0096)) / 1.384
    assert np.allclose(wilson(8, 10), (.49016, .94332), atol=1e-4)
    assert wilson(0, 0) == (0, 1)
    assert share([True, True, False, True])["share"] == .75


def test_mean_over_attributes_counts_what_is_named():
    right = np.array([[True, False], [True, True], [False, False], [True, True]])
    named = np.array([[True, True], [True, False], [True, False], [False, True]])
    figure = mean_of_columns(right, named)
    assert np.isclose(figure["share"], (2 / 3 + 1 / 2) / 2)
    assert figure["low"] <= figure["share"] <= figure["high"]


def test_frechet_distance_of_known_gaussians():
    random = np.random.default_rng(0)
    one = random.standard_normal((200_000, 2))
    other = random.standard_normal((200_000, 2)) * (2, 1) + (3, 0)
    # |(3, 0)|^2 + (1 - 2)^2
    assert abs(frechet(one, other) - 10) < .1
    assert frechet(one, one) < 1e-9


def test_renders_score_as_perfect_and_a_wrong_one_does_not(reader):
    prompts = evaluation_prompts(40)
    pictures = np.stack([draw(replace(any_scene(prompt.seed), **prompt.wanted))
                         for prompt in prompts])
    features = reader.features(pictures)
    perfect = score(pictures, prompts, reader, features)
    assert perfect["mean"]["share"] == 1
    assert sum(pair["count"] for pair in perfect["held-out pairs"].values()) >= 20
    assert all(pair["share"] == 1 for pair in perfect["held-out pairs"].values())
    assert perfect["frechet"] < 1e-6
    shuffled = score(np.roll(pictures, 1, 0), prompts, reader, features)
    assert shuffled["mean"]["share"] < .5 and shuffled["everything named"]["share"] < .1
    model = perfect | {"steps": 4, "autoencoder_psnr": 31, "total_megabytes": 9,
                       "megabytes": {"transformer": 4}, "bits_per_weight": 2.25}
    text = table({"models": {"a": model, "b": model | {"mean": shuffled["mean"]}},
                  "prompts": 40, "frechet_of_renders": 1.5})
    assert "| steps | 4 | 4 |" in text and "| of the first column, % | 100.0 |" in text
