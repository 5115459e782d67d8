"""The tokenizer: tokenizer.json becomes compact, the chat template two strings.

Of tokenizer.json the page gets what it encodes with, which must give the ids of transformers'
tokenizer or stop the build. Where all merges follow from the tokens (pieces.py) they are left out;
else the tokens that follow from the merges are left out of the vocabulary, and
web/api/tokenizer.js puts them back: a merge's token that is missing has the next id that is free.
"""

import hashlib
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from export.errors import ExportError
from export.prompts import clip_tokenizer, unigram
from export.prompts.added_tokens import number_tokens, read_added, read_flags, read_special
from export.prompts.chat_template import read_template, split_template
from export.prompts.classes import add_defaults, check_class, is_clip, is_gemma
from export.prompts.encoder import Encoder, make_encoder
from export.prompts.pieces import find_pieces
from export.prompts.tokenizer_steps import read_model, read_steps, tokens_around
from export.source.configuration import MOST, Configuration, dump_json, is_text, show

TEXTS = ("tokenizer_class", "errors")
FLAGS = ("add_prefix_space", "add_bos_token", "add_eos_token", "clean_up_tokenization_spaces",
         "split_special_tokens")
TOLD = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class Tokenizer:
    file: bytes  # tokenizer.json, compact
    config: dict
    prefix: str
    suffix: str
    pad_token_id: int
    largest_id: int
    folder: Path  # at the source
    encoder: Encoder | None = None  # where its steps can be done at export

    def manifest(self):
        return {
            "bytes": len(self.file),
            "sha256": hashlib.sha256(self.file).hexdigest(), "config": self.config,
        }


def read_tokenizer(folder, chat=True, pads_right=False):
    """The tokenizer of a checkpoint's tokenizer/ folder.

    chat: prompts go through its chat template; pads_right: the pipeline itself has it pad on the
    right, whatever the files say.
    """
    path = folder / "tokenizer.json"
    config = Configuration.read_optional(folder / "tokenizer_config.json")
    tokenizer = open_file(path, config)
    check_sides(tokenizer, config, pads_right)
    vocabulary = read_vocabulary(tokenizer)
    named, further = read_special(folder, config)
    if unigram.is_unigram(tokenizer):
        named, further = unigram.add_own(config, named, further)
    listed = read_added(folder, tokenizer, config)
    known = vocabulary.keys() | {token["content"] for token in listed}
    named = add_defaults(named, config, known)
    pad_token = named.get("pad_token")
    if pad_token not in known:
        config.fail(f"pad_token is {show(pad_token)}, expected a token of {path.name}")
    added = number_tokens(vocabulary, listed, (*named.values(), *further),
                          read_flags(folder, config))
    ids = vocabulary | {token["content"]: token["id"] for token in added}
    special = {key: text for key, text in named.items() if text is not None}
    prefix, suffix = split_template(*read_template(folder, config), special) if chat else ("", "")
    steps = read_steps(tokenizer, ids)
    around = tokens_around(steps["post_processor"])
    check_class(tokenizer, config, named, around)
    if unigram.is_unigram(tokenizer):
        steps |= unigram.own_steps(tokenizer, added, around)
    if is_clip(config):
        steps |= clip_tokenizer.own_steps(tokenizer, config, named, around)
    model, pieces = compact_model(tokenizer, vocabulary)
    file = steps | {"decoder": None, "added_tokens": added, "model": model}
    values = read_values(config) | {key: named[key] for key in TOLD if key in named}
    return Tokenizer(
        dump_json(file, path, separators=(",", ":")).encode(), values, prefix, suffix,
        ids[pad_token], max(ids.values()), folder,
        make_encoder(pieces, steps, added, [[ids[text] for text in side] for side in around]))


def open_file(path, config):
    """tokenizer.json, or what CLIP's class makes of its two files where there is none."""
    if path.exists():
        return Configuration.read(path)
    parts = [(path.parent / name).exists() for name in clip_tokenizer.FILES]
    if is_clip(config) and all(parts):
        return Configuration(path, clip_tokenizer.make_tokenizer(path.parent, config))
    also = f", or {' and '.join(clip_tokenizer.FILES)} beside it" if is_clip(config) else ""
    if all(parts):
        config.fail(f"tokenizer_class is {show(config.get('tokenizer_class', None))}, and this "
                    "version makes only CLIPTokenizer of vocab.json and merges.txt; add the "
                    "model's tokenizer.json")
    raise ExportError(f"{path}: no such file; the model needs a fast tokenizer "
                      f"(tokenizer/tokenizer.json){also}")


def check_sides(tokenizer, config, pads_right):
    """Prompts are cut and padded on the right, and special tokens in them are tokens."""
    sides = ("truncation",) if pads_right else ("padding", "truncation")
    for key in sides:
        usual = "left" if key == "padding" and is_gemma(config) else "right"
        config.only(f"{key}_side", ("right",), usual)
    config.only("split_special_tokens", (False,), False)
    prefixed = unigram.is_unigram(tokenizer)  # T5 has a blank before each word, whatever is said
    config.only("add_prefix_space", (prefixed,), prefixed)
    for key in ("padding", "truncation"):
        block = tokenizer.get(key, {})
        if not isinstance(block, dict):
            tokenizer.fail(f"{key} is {show(block)}, expected an object")
        side = block.get("direction", "Right")
        if side != "Right" and key in sides and f"{key}_side" not in config.values:
            tokenizer.fail(f"{key}.direction is {show(side)}, and this version knows only 'Right'")


def read_values(config):
    """What the page's tokenizer is told of tokenizer_config.json."""
    values = {key: config.get(key, None) for key in (*TEXTS, *FLAGS) if key in config.values}
    for key, value in values.items():
        is_good = is_text(value) if key in TEXTS else isinstance(value, bool)
        if value is not None and not is_good:
            name = "text" if key in TEXTS else "true or false"
            config.fail(f"{key} is {show(value)}, expected {name}")
    if "model_max_length" in config.values:
        values["model_max_length"] = config.number("model_max_length", None, most=1e36)
    return values


def read_vocabulary(tokenizer):
    """token -> id of the model."""
    if unigram.is_unigram(tokenizer):
        return unigram.read_vocabulary(tokenizer)
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict) or not vocabulary:
        tokenizer.fail("model.vocab is missing or is not token -> id, expected a BPE tokenizer")
    if not all(type(index) is int and 0 <= index < MOST for index in vocabulary.values()):
        tokenizer.fail("a token id is not a whole number")
    return vocabulary


def compact_model(tokenizer, vocabulary):
    """(the model as the site has it, its Pieces or None)."""
    if unigram.is_unigram(tokenizer):
        return unigram.read_model(tokenizer), None
    model = tokenizer.get("model")
    pairs, settings = read_merges(tokenizer, model), read_model(tokenizer)
    pieces = find_pieces(model, vocabulary, pairs)
    if pieces:
        return settings | pieces.model(), pieces
    short = all(" " not in token for pair in pairs for token in pair)
    return settings | {
        "vocab": shorten_vocabulary(tokenizer, vocabulary, pairs),
        "merges": [" ".join(pair) for pair in pairs] if short else pairs,
    }, None


def read_merges(tokenizer, model):
    """[[left, right], ...]; older files have "left right"."""
    merges = model.get("merges", [])
    if not isinstance(merges, list):
        tokenizer.fail("model.merges is not a list, expected a BPE tokenizer")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    for pair in pairs:
        if not isinstance(pair, list) or [type(token) for token in pair] != [str, str]:
            tokenizer.fail(f"model.merges holds {show(pair)}, expected two tokens")
    return pairs


def shorten_vocabulary(tokenizer, vocabulary, pairs):
    """token -> id without the tokens that follow from the merges; all, where ids do not agree."""
    made = dict.fromkeys(left + right for left, right in pairs)
    unknown = next((token for token in made if token not in vocabulary), None)
    if unknown is not None:
        tokenizer.fail(f"a merge makes {unknown!r}, expected a token of model.vocab")
    rest = {token: index for token, index in vocabulary.items() if token not in made}
    taken = {*rest.values()}
    free = (index for index in count() if index not in taken)
    following = dict(zip(made, free, strict=False))
    return rest if rest | following == vocabulary else vocabulary
