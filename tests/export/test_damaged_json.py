"""Every key of every JSON file, given what does not belong there: a sentence, or no difference.

NaN and Infinity, which Python writes into JSON and browsers do not read, are among it.
"""

import copy
import json

import pytest

from export.errors import ExportError
from export.source.configuration import dump_json, parse_json
from tests.export.test_meaning import SCHEDULER, opened
from tests.export.tiny import Tiny, write_json

FILES = ("model_index.json", "trefoil.json", SCHEDULER, "tokenizer/tokenizer.json",
         "tokenizer/tokenizer_config.json", "vae/config.json",
         "transformer-packed-mflux/config.json", "text_encoder-mlx-4bit/config.json",
         "transformer-packed-mflux/quantization_config.json")
WRONG = ("null", "[]", "{}", '""', "-1", "0.5", "true", "1e400", "NaN", "-Infinity", "9" * 400,
         "9" * 5000, '"' + "x" * 5000 + '"', "[" * 400 + "]" * 400, "[" * 4000 + "]" * 4000,
         r'"\ud800"', "[null]", '[{"a": NaN}]', '{"a": [1e999]}')
MARK = "the-place-of-the-wrong-value"
# What a user may set: other values mean another picture, and they must be in range.
SETTINGS = {
    "trefoil.json": ("sizes", "prompts", "width", "height", "max_sequence_length"),
    SCHEDULER: ("shift", "use_dynamic_shifting", "base_shift", "max_shift"),
    "vae/config.json": ("batch_norm_eps",),
    "transformer-packed-mflux/config.json": ("eps", "rope_theta"),
    "text_encoder-mlx-4bit/config.json": ("rms_norm_eps", "rope_theta"),
    "tokenizer/tokenizer_config.json": ("model_max_length", "errors", "tokenizer_class",
                                        "clean_up_tokenization_spaces", "add_bos_token",
                                        "eos_token", "bos_token", "pad_token",
                                        "extra_special_tokens", "added_tokens_decoder"),
    "tokenizer/tokenizer.json": ("special", "lstrip", "rstrip", "normalized", "ignore_merges",
                                 "fuse_unk", "byte_fallback", "trim_offsets", "use_regex",
                                 "unk_token", "add_prefix_space", "normalizer", "content", "id",
                                 "pre_tokenizer", "post_processor", "added_tokens", "single",
                                 "continuing_subword_prefix", "end_of_word_suffix", "vocab"),
}
MORE = {  # keys that Tiny leaves out
    SCHEDULER: {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000,
        "shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15,
        "base_image_seq_len": 256, "max_image_seq_len": 4096, "shift_terminal": None,
        "time_shift_type": "exponential", "invert_sigmas": False, "stochastic_sampling": False,
    },
    "tokenizer/tokenizer_config.json": {
        "model_max_length": 40, "errors": "replace", "add_bos_token": False, "bos_token": None,
        "clean_up_tokenization_spaces": False, "extra_special_tokens": ["<|im_start|>"],
        "padding_side": "right", "split_special_tokens": False, "add_prefix_space": False,
        "added_tokens_decoder": {"26": {"content": "<|endoftext|>", "special": True}},
    },
    "tokenizer/tokenizer.json": {
        "padding": {"direction": "Right"}, "truncation": {"direction": "Right"},
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "[a-z]+"}, "behavior": "Isolated"},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
        "post_processor": {"type": "TemplateProcessing", "special_tokens": {
            "<|im_start|>": {"id": "<|im_start|>", "ids": [27], "tokens": ["<|im_start|>"]}},
            "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}]},
    },
    "text_encoder-mlx-4bit/config.json": {
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
        "layer_types": ["full_attention"] * 3, "attention_bias": False,
        "use_sliding_window": False, "tie_word_embeddings": True,
    },
    "vae/config.json": {"up_block_types": ["UpDecoderBlock2D"] * 2, "act_fn": "silu",
                        "mid_block_add_attention": True, "use_post_quant_conv": True,
                        "scaling_factor": 1.0},
    "trefoil.json": {"guidance_scale": 1, "negative_prompt": None, "swapped_norm_out": False},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = Tiny().write(tmp_path_factory.mktemp("damaged") / "tiny", "mlx")
    for file, values in MORE.items():
        path = folder / file
        write_json(path, (json.loads(path.read_text()) if path.exists() else {}) | values)
    return folder


def places(values, most=4):
    """Paths of keys and indices into JSON values, those of long lists and objects by samples."""
    if most and isinstance(values, dict | list):
        keys = list(values) if isinstance(values, dict) else range(len(values))
        for key in (*keys[:12], *keys[26:29]):
            yield (key,)
            yield from ((key, *rest) for rest in places(values[key], most - 1))


def changed(values, place, value):
    values = copy.deepcopy(values)
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return values


def outcome(tiny):
    try:
        return opened(tiny)
    except ExportError as error:
        message = str(error)
        assert len(message) < 1200 and "\n" not in message, message
        return message


@pytest.mark.parametrize("file", FILES)
def test_a_wrong_value_at_any_key(tiny, file):
    path, plain = tiny / file, opened(tiny)
    text = path.read_text()
    values, ended = json.loads(text), {"refused": 0, "the same": 0, "a setting": 0}
    try:
        for place in places(values):
            marked = json.dumps(changed(values, place, MARK))
            for wrong in WRONG:
                path.write_text(marked.replace(f'"{MARK}"', wrong))
                got = outcome(tiny)
                if isinstance(got, str):
                    ended["refused"] += 1
                    where = tiny if wrong == "null" else path.parent  # null: as if it was absent
                    assert str(where) in got, (place, wrong, got)
                elif got == plain:
                    ended["the same"] += 1
                else:
                    ended["a setting"] += 1
                    is_setting = wrong == "null" or set(place) & set(SETTINGS.get(file, ()))
                    assert is_setting, (place, wrong[:60])
    finally:
        path.write_text(text)
    print(file, ended)
    assert ended["refused"] > ended["a setting"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_no_number_that_json_lacks_reaches_the_page(tiny, file, number):
    """At keys that nobody reads it changes nothing, or is told."""
    path = tiny / file
    text, plain = path.read_text(), opened(tiny)
    try:
        path.write_text(text.rstrip()[:-1] + f', "_loss": {number}, "torch_dtype": {number}}}')
        got = outcome(tiny)
    finally:
        path.write_text(text)
    if "trefoil" in file or "quantization" in file:  # no unknown key at all
        assert f"_loss is {number}, a key that this version does not know" in got
    else:
        assert got == plain


@pytest.mark.parametrize(("file", "key"), [
    (SCHEDULER, "base_shift"), (SCHEDULER, "shift"), (SCHEDULER, "num_train_timesteps"),
    ("vae/config.json", "batch_norm_eps"), ("tokenizer/tokenizer_config.json", "model_max_length"),
    ("trefoil.json", "guidance_scale"), ("text_encoder-mlx-4bit/config.json", "rope_theta"),
    ("transformer-packed-mflux/config.json", "mlp_ratio"),
])
@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_a_number_that_json_lacks_is_named(tiny, file, key, number):
    path = tiny / file
    text = path.read_text()
    try:
        marked = json.dumps(json.loads(text) | {key: MARK})
        path.write_text(marked.replace(f'"{MARK}"', number))
        got = outcome(tiny)
    finally:
        path.write_text(text)
    assert str(path) in got and f"{key} is {number}" in got


def test_duplicate_keys_and_minus_zero_are_as_every_reader_has_them(tiny):
    plain = opened(tiny)
    path = tiny / SCHEDULER
    text = path.read_text()
    try:
        path.write_text('{"shift": NaN, "shift_terminal": 7, "base_shift": -0.0, '
                        '"shift_terminal": null,' + text.lstrip()[1:])
        assert opened(tiny) == plain  # the last of two counts, in Python and in browsers
    finally:
        path.write_text(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": -float("inf")}], {1, 2}])
def test_what_json_cannot_hold_is_not_written(value):
    with pytest.raises(ExportError, match="manifest.json: holds what JSON cannot"):
        dump_json({"a": value}, "manifest.json")


def test_numbers_of_json_are_read_as_they_are():
    text = '{"a": 1e308, "b": -0.0, "c": 12345678901234567890, "d": 1.5}'
    assert parse_json(text) == json.loads(text)
    assert dump_json(parse_json(text), "x") == json.dumps(json.loads(text))
