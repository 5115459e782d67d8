"""Tokens beside the vocabulary, the one that pads, and what would give other ids than

transformers' tokenizer does: tests/browser/test_tokenizer.py compares the ids themselves.
"""

import json

import pytest

from export.errors import ExportError
from export.prompts.tokenizer import read_tokenizer
from tests.export.tiny import TEMPLATE, write_json, write_tokenizer


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("config", "files", "pad"), [
    ({}, {}, 26),  # the class's own <|endoftext|>
    ({}, {"special_tokens_map.json": {"pad_token": "<|im_end|>"}}, 28),
    ({}, {"special_tokens_map.json": {"pad_token": {"content": "<|im_end|>", "rstrip": True}}},
     28),
    ({"pad_token": None}, {"special_tokens_map.json": {"pad_token": "<|im_end|>"}}, 28),
    ({"pad_token": "a"}, {"special_tokens_map.json": {"pad_token": "<|im_end|>"}}, 28),
    ({"pad_token": "a"}, {"special_tokens_map.json": {"eos_token": "<|im_end|>"}}, 0),
    ({"pad_token": "b", "added_tokens_decoder": {}},
     {"special_tokens_map.json": {"pad_token": "<|im_end|>"}}, 1),
    ({"added_tokens_decoder": {"29": {"content": "<pad>"}}, "pad_token": "<pad>"}, {}, 29),
    ({"pad_token": "<pad>"}, {"added_tokens.json": {"<pad>": 29}}, 29),
    ({"tokenizer_class": "PreTrainedTokenizerFast"}, {}, "pad_token is None, expected a token"),
    ({"pad_token": None}, {}, "pad_token is None, expected a token of tokenizer.json"),
    ({"pad_token": ["a"]}, {}, r"pad_token is \['a'\], expected a token"),
    ({"pad_token": {"content": 1}}, {}, r"pad_token is {'content': 1}, expected a token"),
    ({"pad_token": ""}, {}, "pad_token is '', expected a token"),
])
def test_where_the_pad_token_stands(folder, config, files, pad):
    write_json(folder / "tokenizer_config.json", {"chat_template": TEMPLATE} | config)
    for name, values in files.items():
        write_json(folder / name, values)
    if isinstance(pad, int):
        assert read_tokenizer(folder).pad_token_id == pad
        return
    with pytest.raises(ExportError, match=pad):
        read_tokenizer(folder)


X = {"content": "<X>", "special": True}


@pytest.mark.parametrize(("config", "files"), [
    ({"added_tokens_decoder": {"29": X}}, {}), ({"added_tokens_decoder": {"35": X}}, {}),
    ({}, {"added_tokens.json": {"<X>": 29}}), ({"eos_token": "<X>"}, {}),
    ({"extra_special_tokens": ["<X>"]}, {}), ({"extra_special_tokens": {"x_token": "<X>"}}, {}),
    ({"additional_special_tokens": [X]}, {}), ({"image_token": "<X>"}, {}),
    ({}, {"special_tokens_map.json": {"additional_special_tokens": ["<X>"]}}),
])
def test_tokens_beside_tokenizer_json_reach_the_page(folder, config, files):
    """With the id that the tokenizers library gives them, the next one."""
    write_json(folder / "tokenizer_config.json", {"chat_template": TEMPLATE} | config)
    for name, values in files.items():
        write_json(folder / name, values)
    tokenizer = read_tokenizer(folder)
    added = {t["content"]: t["id"] for t in json.loads(tokenizer.file)["added_tokens"]}
    assert added == {"<|endoftext|>": 26, "<|im_start|>": 27, "<|im_end|>": 28, "<X>": 29}
    assert tokenizer.largest_id == 29


def template_of(*pieces, **special):
    """A post-processor of tokens and the prompt (None)."""
    single = [{"SpecialToken": {"id": piece, "type_id": 0}} if piece
              else {"Sequence": {"id": "A", "type_id": 0}} for piece in pieces]
    table = {text: {"id": text, "ids": [index], "tokens": [text]}
             for text, index in special.items()}
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": table}


@pytest.mark.parametrize(("file", "values", "says"), [
    ("tokenizer_config.json", {"padding_side": "left"}, "padding_side is 'left'"),
    ("tokenizer_config.json", {"truncation_side": "left"}, "truncation_side is 'left'"),
    ("tokenizer_config.json", {"split_special_tokens": True}, "split_special_tokens is True"),
    ("tokenizer_config.json", {"add_prefix_space": True}, "add_prefix_space is True"),
    ("tokenizer_config.json", {"errors": 3}, "errors is 3, expected text"),
    ("tokenizer_config.json", {"added_tokens_decoder": {"x": X}}, "has the id 'x'"),
    ("tokenizer_config.json", {"added_tokens_decoder": {"30": "<X>"}}, "lacks id or content"),
    ("tokenizer_config.json", {"extra_special_tokens": 7}, "extra_special_tokens is 7"),
    ("tokenizer.json", {"padding": {"direction": "Left"}}, "padding.direction is 'Left'"),
    ("tokenizer.json", {"truncation": {"direction": "Left"}}, "truncation.direction is 'Left'"),
    ("tokenizer.json", {"added_tokens": [{"id": 3, "content": "a", "single_word": True}]},
     "'a' is single_word"),
    ("tokenizer.json", {"normalizer": {"type": "Nmt"}}, "normalizer is {'type': 'Nmt'}, which"),
    ("tokenizer.json", {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "x"},
                                          "behavior": "MergedWithNext"}}, "MergedWithNext"),
    ("tokenizer.json", {"post_processor": template_of("a", None, a=5)}, "adds 'a' as "),
    ("tokenizer.json", {"post_processor": template_of("<s>", None)}, "adds '<s>' as None"),
    ("added_tokens.json", {"<X>": "29"}, "<X> is '29', expected an id"),
])
def test_what_gives_other_ids_is_refused(folder, file, values, says):
    path = folder / file
    write_json(path, (json.loads(path.read_text()) if path.exists() else {}) | values)
    with pytest.raises(ExportError, match=says) as refusal:
        read_tokenizer(folder)
    assert file in str(refusal.value)


@pytest.mark.parametrize(("file", "values"), [
    ("tokenizer_config.json", {"padding_side": "right", "truncation_side": "right",
                               "split_special_tokens": False, "add_prefix_space": False,
                               "add_bos_token": True, "do_lower_case": True, "legacy": False}),
    ("tokenizer.json", {"padding": {"direction": "Right"}, "truncation": {"direction": "Right"}}),
])
def test_what_gives_the_same_ids_is_taken(folder, file, values):
    path, plain = folder / file, read_tokenizer(folder)
    write_json(path, json.loads(path.read_text()) | values)
    got = read_tokenizer(folder)
    assert (got.file, got.pad_token_id, got.prefix) == (plain.file, 26, plain.prefix)
