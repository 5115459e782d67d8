"""T5's tokenizer at export: what the site gets of it, and which files are refused."""

import base64
import json

import pytest

from export.errors import ExportError
from export.prompts.tokenizer import read_tokenizer
from export.prompts.unigram import WORDS
from tests.export.tiny import TEMPLATE
from tests.t5_tokenizer import compile_charsmap, replacements, write_tokenizer

FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"
METASPACE = {"type": "Metaspace", "replacement": "\u2581"}


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    return tmp_path


def edit(folder, name, **keys):
    """Sets keys of a file; None takes one away."""
    path = folder / name
    values = json.loads(path.read_text(encoding="utf-8")) | keys
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))


def test_the_site_gets_the_class_s_steps(folder):
    tokenizer = read_tokenizer(folder, chat=False)
    file = json.loads(tokenizer.file)
    source = json.loads((folder / FILE).read_text(encoding="utf-8"))
    assert file["normalizer"] == source["normalizer"]["normalizers"][0]
    assert base64.b64decode(file["normalizer"]["precompiled_charsmap"]) == compile_charsmap(
        replacements())
    assert file["pre_tokenizer"] == WORDS
    assert file["model"] == {"type": "Unigram", "unk_id": 2, "vocab": source["model"]["vocab"]}
    assert file["post_processor"] == source["post_processor"] and file["decoder"] is None
    assert tokenizer.pad_token_id == 0 and tokenizer.largest_id == 441
    assert tokenizer.encoder is None and (tokenizer.prefix, tokenizer.suffix) == ("", "")
    assert len(tokenizer.file) < 0.6 * (folder / FILE).stat().st_size


@pytest.mark.parametrize("steps", [
    {"normalizer": None}, {"normalizer": {"type": "Sequence", "normalizers": []}},
    {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"}, METASPACE | {"prepend_scheme": "always"}]}},
])
def test_steps_that_come_to_the_same(folder, steps):
    edit(folder, FILE, **steps)
    file = json.loads(read_tokenizer(folder, chat=False).file)
    assert (file["normalizer"] is None) == ("normalizer" in steps)
    assert file["pre_tokenizer"] == WORDS


def normalizers(*steps):
    return {"normalizer": {"type": "Sequence", "normalizers": list(steps)}}


def model(vocab=(("a", 0.0), ("b", 0.0), ("c", -1.0)), **keys):
    return {"model": {"type": "Unigram", "unk_id": 2, "vocab": vocab} | keys}


def charsmap(data):
    text = base64.b64encode(data).decode()
    return normalizers({"type": "Precompiled", "precompiled_charsmap": text})


X = {"id": 442, "content": "<X>", "single_word": False, "lstrip": False, "rstrip": False,
     "normalized": True, "special": False}


@pytest.mark.parametrize(("name", "values", "says"), [
    (FILE, model(vocab=[]), "model.vocab is missing or is not a list of [token, score]"),
    (FILE, model(vocab={"a": 0}), "model.vocab is missing or is not a list of [token, score]"),
    (FILE, model(vocab=[["a", 0], ["b", "0"], ["c", 0]]), "is not a list of [token, score]"),
    (FILE, model(vocab=[["a", 0], ["", 0], ["c", 0]]), "is not a list of [token, score]"),
    (FILE, model(vocab=[["a", 0], ["b", 0], ["a", 0]]), "model.vocab has 'a' twice"),
    (FILE, model(unk_id=0), "model.unk_id is 0 of 3 tokens, and T5Tokenizer has 2"),
    (FILE, model(byte_fallback=True), "model.byte_fallback is True"),
    (FILE, normalizers({"type": "Lowercase"}), "and T5Tokenizer has a charsmap alone"),
    (FILE, normalizers({"type": "Replace", "pattern": {"String": "a"}, "content": " "}),
     "and T5Tokenizer has a charsmap alone"),
    (FILE, charsmap(b"\x08\0\0\0\0\0\0\0"), "is no charsmap of SentencePiece's"),
    (FILE, charsmap(b""), "is no charsmap of SentencePiece's"),
    (FILE, {"pre_tokenizer": None}, "and T5Tokenizer splits at blanks"),
    (FILE, {"pre_tokenizer": {"type": "Whitespace"}}, "and T5Tokenizer splits at blanks"),
    (FILE, {"pre_tokenizer": METASPACE | {"replacement": "_"}}, "and T5Tokenizer splits at blanks"),
    (FILE, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        METASPACE, {"type": "Digits", "individual_digits": True}]}},
     "and T5Tokenizer splits at blanks and marks words with \u2581"),
    (FILE, {"post_processor": None},
     "post_processor adds [] before a text and [] behind it, and T5Tokenizer adds </s> behind it"),
    (FILE, {"added_tokens": [X]}, "added token '<X>' is normalized"),
    (CONFIG, {"tokenizer_class": "XLMRobertaTokenizer"},
     "of Unigram tokenizers this version knows only T5Tokenizer"),
    (CONFIG, {"eos_token": "<pad>"}, "eos_token is '<pad>', and T5Tokenizer ends a text with </s>"),
    (CONFIG, {"extra_ids": -1}, "extra_ids is -1"),
    (CONFIG, {"padding_side": "left"}, "padding_side is 'left'"),
])
def test_what_transformers_reads_otherwise_is_refused(folder, name, values, says):
    edit(folder, name, **values)
    with pytest.raises(ExportError) as refusal:
        read_tokenizer(folder, chat=False)
    assert str(refusal.value).startswith(str(folder)) and says in str(refusal.value)


def test_a_charsmap_beside_another_model(folder):
    edit(folder, FILE, model={"type": "BPE", "vocab": {"a": 0, "</s>": 1}, "merges": []})
    edit(folder, CONFIG, pad_token="a", tokenizer_class=None, chat_template=TEMPLATE)
    with pytest.raises(ExportError, match="knows only beside a Unigram model"):
        read_tokenizer(folder)


@pytest.mark.parametrize("prefixed", [True, False])
def test_t5_has_a_blank_before_each_word_whatever_is_said(folder, prefixed):
    """As its class has; published files say so, and one that denies it depends on the version."""
    plain = read_tokenizer(folder, chat=False).file
    edit(folder, CONFIG, add_prefix_space=prefixed, legacy=True)
    if prefixed:
        assert read_tokenizer(folder, chat=False).file == plain
    else:
        with pytest.raises(ExportError, match="add_prefix_space is False"):
            read_tokenizer(folder, chat=False)
