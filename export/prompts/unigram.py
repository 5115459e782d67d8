"""Unigram tokenizers, as T5 has them: their vocabulary, and the steps of transformers' own class.

Of the file's normalizer transformers 5 has T5Tokenizer take the charsmap alone, and split at blanks
whatever the file says; transformers 4 does all that the file says. So the file's steps must be of
those that come to the same, and the site gets the class's.
"""

import base64
import binascii
import math
import struct

from export.source.configuration import is_text, show

CLASS = "T5Tokenizer"
SPACE = "\u2581"
END, UNKNOWN = "</s>", 2  # of the class: the token behind each text, and the id of what has none
NAMED = {"eos_token": END, "unk_token": "<unk>", "pad_token": "<pad>"}
EXTRA_ID, EXTRA_IDS = "<extra_id_{}>", 100
# WhitespaceSplit, by Unicode's own property: JavaScript's blanks are others.
SPLIT = {"type": "Split", "pattern": {"Regex": "\\p{White_Space}+"}, "behavior": "Removed",
         "invert": False}
WORDS = {"type": "Sequence", "pretokenizers": [
    SPLIT, {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always"}]}
RUNS = {"Regex": " {2,}"}


def is_unigram(tokenizer):
    model = tokenizer.get("model")
    return isinstance(model, dict) and model.get("type") == "Unigram"


def read_vocabulary(tokenizer):
    """token -> id of the model, which is as the class would make it."""
    model = tokenizer.get("model")
    pairs = model.get("vocab")
    if not isinstance(pairs, list) or not pairs or not all(map(is_scored, pairs)):
        tokenizer.fail("model.vocab is missing or is not a list of [token, score], expected a "
                       "Unigram tokenizer")
    ids = {token: index for index, (token, _) in enumerate(pairs)}
    if len(ids) < len(pairs):
        twice = next(token for index, (token, _) in enumerate(pairs) if ids[token] != index)
        tokenizer.fail(f"model.vocab has {twice!r} twice, expected each token once")
    for key, value in (("unk_id", UNKNOWN), ("byte_fallback", False)):
        if model.get(key, value) != value or len(pairs) <= UNKNOWN:
            tokenizer.fail(f"model.{key} is {show(model.get(key))} of {len(pairs)} tokens, and "
                           f"{CLASS} has {value}")
    return ids


def is_scored(pair):
    """Whether this is a token and its score, the logarithm of a probability."""
    return (isinstance(pair, list) and len(pair) == 2 and is_text(pair[0]) and pair[0] != ""
            and isinstance(pair[1], int | float) and not isinstance(pair[1], bool)
            and math.isfinite(pair[1]))


def read_model(tokenizer):
    """The model as the site has it."""
    return {"type": "Unigram", "unk_id": UNKNOWN, "vocab": tokenizer.get("model")["vocab"]}


def add_own(config, named, further):
    """(named, further) of read_special with the class's own: 100 tokens for other tasks, unless

    the files name further ones.
    """
    name = config.get("tokenizer_class", CLASS)
    if not isinstance(name, str) or not name.startswith(CLASS):
        config.fail(f"tokenizer_class is {show(name)}, and of Unigram tokenizers this version "
                    f"knows only {CLASS}")
    if named.get("eos_token", END) != END:
        config.fail(f"eos_token is {show(named['eos_token'])}, and {CLASS} ends a text with {END}")
    count = config.integer("extra_ids", EXTRA_IDS, least=0, most=1 << 16)
    return NAMED | named, further or [EXTRA_ID.format(i) for i in range(count)]


def own_steps(tokenizer, added, around):
    """The class's normalizer and pre_tokenizer, for a file whose steps were checked.

    added: as number_tokens gives them; around: tokens (before, after) each text by the file.
    """
    if around != [[], [END]]:
        tokenizer.fail(f"post_processor adds {around[0]} before a text and {around[1]} behind it, "
                       f"and {CLASS} adds {END} behind it")
    normalizer = tokenizer.get("normalizer", None)
    parts = parts_of(normalizer, "normalizers")
    charsmaps = [part for part in parts if part["type"] == "Precompiled"]
    if len(charsmaps) > 1 or not all(map(is_usual, parts)):
        tokenizer.fail(f"normalizer is {show(normalizer)}, and {CLASS} has a charsmap alone; make "
                       "both say the same")
    splitter = tokenizer.get("pre_tokenizer", None)
    words = parts_of(splitter, "pretokenizers")
    kinds = {part["type"] for part in words}
    marks = {part.get("replacement") for part in words if part["type"] == "Metaspace"}
    if not kinds <= {"Metaspace", "WhitespaceSplit"} or marks != {SPACE}:
        tokenizer.fail(f"pre_tokenizer is {show(splitter)}, and {CLASS} splits at blanks and marks "
                       f"words with {SPACE}; make both say the same")
    own = next(iter(charsmaps), None)
    if own:
        check_charsmap(tokenizer, own.get("precompiled_charsmap", ""))
        changed = next((token["content"] for token in added if token["normalized"]), None)
        if changed is not None:
            tokenizer.fail(f"added token {changed!r} is normalized, and this version looks for "
                           "tokens before the charsmap is applied")
    return {"normalizer": own, "pre_tokenizer": WORDS}


def parts_of(step, key):
    if step is None:
        return []
    return step[key] if step["type"] == "Sequence" else [step]


def is_usual(step):
    """Whether a step of the file's changes nothing but blanks, at which the class splits anyway."""
    if step["type"] == "Replace":
        return step.get("pattern") == RUNS and step.get("content") in (" ", SPACE)
    return step["type"] in ("Precompiled", "Strip")


def check_charsmap(tokenizer, text):
    """The length of a double array of words, in bytes, the array, and texts that end with 0."""
    try:
        data = base64.b64decode(text, validate=True)
        (length,) = struct.unpack_from("<I", data)
    except (binascii.Error, struct.error):
        data, length = b"", 0
    if not length or length % 4 or len(data) < 4 + length:
        tokenizer.fail("precompiled_charsmap is no charsmap of SentencePiece's; download the file "
                       "again")
