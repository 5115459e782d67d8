import numpy as np
import pytest

from export.garden.caption import caption
from export.garden.judge import judge
from export.garden.prompts import EXAMPLES, evaluation_prompts
from export.garden.scene import ATTRIBUTES, SIDE, Scene, draw, random_scene
from export.garden.tokenizer import tokenize, train_bpe

PLAIN = {"foliage": "green", "pot": "blue", "pot_shape": "round", "sky": "blue",
         "weather": "clear"}


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


def test_judge_reads_every_rendered_scene():
    for seed in range(30_000_000, 30_000_060):
        scene = random_scene(seed)
        verdict = judge(draw(scene))
        assert verdict == {region: getattr(scene, region) for region in verdict}


def test_judge_sees_a_wrong_pot():
    red = Scene(**(PLAIN | {"pot": "red"}), seed=2)
    assert judge(draw(red))["pot"] == "red" != PLAIN["pot"]


def test_captions_name_what_they_keep():
    rng = np.random.default_rng(0)
    scene = Scene("purple", "brown", "tall", "night", "snow", 0)
    texts = [caption(scene, rng).lower() for _ in range(400)]
    assert len(set(texts)) > 300
    for word, share in (("purple", .3), ("terracotta", .1), ("night", .15), ("snow", .4)):
        assert np.mean([word in text for text in texts]) > share
    assert not any(word in text for text in texts for word in ("pink", "jade", "rain", "sunset"))


def test_evaluation_prompts_differ_and_cover_all_values():
    prompts = evaluation_prompts()
    assert len({prompt for prompt, _ in prompts}) == 32
    for name, values in ATTRIBUTES.items():
        assert {wanted[name] for _, wanted in prompts} == set(values)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import Qwen2TokenizerFast

    from export.garden.tokenizer import CHAT_TEMPLATE, END, PAD
    return Qwen2TokenizerFast(tokenizer_object=train_bpe(800), pad_token=PAD, eos_token=END,
                              unk_token=None, bos_token=None, chat_template=CHAT_TEMPLATE)


def test_tokens_end_the_prompt_and_pad_right(tokenizer):
    ids, mask = tokenize(tokenizer, [*EXAMPLES, "盆栽 é 🌳"])
    assert ids.shape == mask.shape == (9, 32)
    for row, real in zip(ids, mask.sum(1), strict=True):
        assert row[real - 1] == 2 and (row[real:] == 0).all() and (row[:real] != 0).all()
    assert mask[:-1].sum(1).max() < 32


def test_any_script_round_trips(tokenizer):
    ids, mask = tokenize(tokenizer, ["盆栽 é 🌳"])
    assert tokenizer.decode(ids[0][:mask.sum()][:-1]) == "盆栽 é 🌳"
