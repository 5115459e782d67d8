import numpy as np
import pytest

from train.garden.canvas import SIDE
from train.garden.caption import caption, captions
from train.garden.draw import draw
from train.garden.prompts import EXAMPLES
from train.garden.scene import (
    ATTRIBUTES,
    HELD_OUT,
    Scene,
    any_scene,
    held_out_pairs,
    random_scene,
)
from train.garden.tokenizer import tokenize, train_bpe

PLAIN = {"foliage": "green", "tree": "cloud", "lean": "upright", "size": "large", "pot": "blue",
         "pot_shape": "round", "sky": "blue", "weather": "clear"}


def test_a_scene_is_its_seed():
    first, again = draw(random_scene(5)), draw(random_scene(5))
    assert first.shape == (SIDE, SIDE, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, draw(random_scene(6)))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_changes_the_picture(name):
    pictures = [draw(Scene(**(PLAIN | {name: value}), seed=1)) for value in ATTRIBUTES[name]]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one.astype(int) - other).mean() > 1


def test_unknown_attribute_is_named():
    with pytest.raises(ValueError, match="pot is 'gold', expected one of blue, red"):
        Scene(**(PLAIN | {"pot": "gold"}), seed=0)


def test_training_scenes_hold_no_held_out_pair_and_every_value():
    scenes = [random_scene(seed).attributes() for seed in range(2000)]
    assert not any(held_out_pairs(scene) for scene in scenes)
    for name, values in ATTRIBUTES.items():
        assert {scene[name] for scene in scenes} == set(values)


def test_any_scene_holds_every_held_out_pair():
    found = {pair for seed in range(2000) for pair in held_out_pairs(any_scene(seed).attributes())}
    assert found == set(HELD_OUT)


def test_captions_name_what_they_keep():
    rng = np.random.default_rng(0)
    scene = Scene("purple", "weeping", "left", "small", "brown", "tall", "night", "snow", 0)
    texts = [caption(scene, rng).lower() for _ in range(400)]
    assert len(set(texts)) > 300
    for word, share in (("purple", .3), ("terracotta", .1), ("night", .15), ("snow", .4),
                        ("left", .4), ("tiny", .05), ("weeping", .2)):
        assert np.mean([word in text for text in texts]) > share
    assert not any(word in text for text in texts
                   for word in ("pink", "jade", "rain", "sunset", "right", "large", "pine"))


def test_a_caption_names_just_the_attributes_it_is_told():
    scene = Scene("red", "pine", "right", "large", "blue", "square", "grey", "rain", 0)
    rng = np.random.default_rng(0)
    for _ in range(100):
        text = caption(scene, rng, {"pot"}).lower()
        assert "blue" in text or "cobalt" in text
        assert not any(word in text for word in ("red", "crimson", "pine", "right", "large",
                                                 "square", "rain", "overcast"))


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import Qwen2TokenizerFast

    from train.garden.tokenizer import CHAT_TEMPLATE, END, PAD
    return Qwen2TokenizerFast(tokenizer_object=train_bpe(2000), pad_token=PAD, eos_token=END,
                              unk_token=None, bos_token=None, chat_template=CHAT_TEMPLATE)


def test_tokens_end_the_prompt_and_pad_right(tokenizer):
    ids, mask = tokenize(tokenizer, [*EXAMPLES, "盆栽 é 🌳"])
    assert ids.shape == mask.shape == (len(EXAMPLES) + 1, 40)
    for row, real in zip(ids, mask.sum(1), strict=True):
        assert row[real - 1] == 2 and (row[real:] == 0).all() and (row[:real] != 0).all()
    assert mask[:-1].sum(1).max() < 40


def test_captions_fit_the_text_length(tokenizer):
    _, mask = tokenize(tokenizer, captions([random_scene(seed) for seed in range(1000)], 7))
    assert mask.sum(1).max() < 40


def test_any_script_round_trips(tokenizer):
    ids, mask = tokenize(tokenizer, ["盆栽 é 🌳"])
    assert tokenizer.decode(ids[0][:mask.sum()][:-1]) == "盆栽 é 🌳"
