"""A small tokenizer of T5's kind, in the files that T5 ships: Unigram behind a charsmap.

The charsmap is SentencePiece's form of a table of replacements: the length of a double array, the
array, and the texts that it points into.
"""

import base64
import json
import math
import struct
import unicodedata
from collections import Counter

SPACE = "\u2581"
SPECIAL = ["<pad>", "</s>", "<unk>"]
EXTRA_IDS = 100
LETTERS = "abcdefghijklmnopqrstuvwxyz" "ABCDEFGHIJKLMNOPQRSTUVWXYZ" "0123456789" ".,:;!?'\"-()/>"
LONGEST = 7  # letters of a piece
LEARNED = 260
CORPUS = """a red fox asleep in the snow, an old pine bent by the wind over a stone lantern
the pale moon above a quiet garden; two juniper trees and a wooden bridge in morning fog
it's raining, they've left, we'll paint the river's edge. 12 lanterns, 2048 maple leaves
a small, fluffy white cat, sleeping in the garden of shapes and colors, été à la mer
ein kleiner Garten, eine alte Kiefer im Schnee, un jardin tranquille, la lune pâle"""
BLANKS = "\t\n\r\u00a0\u2003\u3000\u200b\ufeff"  # become a space
NOTHING = "\u0001\u0007\u00ad"  # become nothing
LEAF, HAS_LEAF = 1 << 31, 1 << 8


def write_tokenizer(folder, charsmap=None, **config):
    """tokenizer.json and tokenizer_config.json, whose keys `config` are; charsmap: text ->

    replacement.
    """
    extra = [f"<extra_id_{i}>" for i in range(EXTRA_IDS)]
    vocab = [*[(piece, 0.0) for piece in SPECIAL], *pieces(),
             *[(piece, 0.0) for piece in reversed(extra)]]
    ids = {piece: index for index, (piece, _) in enumerate(vocab)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    compiled = compile_charsmap(replacements() if charsmap is None else charsmap)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": ids[piece], "content": piece, **flags}
                         for piece in (*SPECIAL, *reversed(extra))],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(compiled).decode()},
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": SPACE, "add_prefix_space": True,
                          "prepend_scheme": "first"},
        "post_processor": last("</s>", ids["</s>"]),
        "decoder": {"type": "Metaspace", "replacement": SPACE, "add_prefix_space": True,
                    "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": False},
    })
    write(folder / "tokenizer_config.json", {
        "added_tokens_decoder": {str(ids[piece]): {"content": piece, **flags}
                                 for piece in (*SPECIAL, *reversed(extra))},
        "additional_special_tokens": extra, "clean_up_tokenization_spaces": True,
        "eos_token": "</s>", "extra_ids": EXTRA_IDS, "legacy": False, "model_max_length": 512,
        "pad_token": "<pad>", "sp_model_kwargs": {}, "tokenizer_class": "T5Tokenizer",
        "unk_token": "<unk>", **config,
    })


def pieces():
    """(piece, its logarithm of how often it occurs), the most frequent first, and all letters."""
    counts = Counter({letter: 1 for letter in LETTERS + SPACE})
    for word in CORPUS.split():
        text = SPACE + word
        counts.update(text[first:end] for first in range(len(text))
                      for end in range(first + 1, min(first + LONGEST, len(text)) + 1))
    total = counts.total()
    longer = [piece for piece, _ in counts.most_common() if len(piece) > 1][:LEARNED]
    kept = sorted({*longer, *(piece for piece in counts if len(piece) == 1)},
                  key=lambda piece: (-counts[piece], piece))
    return [(piece, as_float32(math.log(counts[piece] / total) * len(piece) ** 0.5))
            for piece in kept]


def as_float32(value):
    """As published vocabularies have their scores."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def replacements():
    """text -> what it becomes: blanks, nothing, and what NFKC makes of a few letters and pairs."""
    letters = "ﬁﬂ½Ⅷ…№™ｆｏｘＡ＜＞：。，！"
    pairs = [letter + mark for letter in "aeiouAE" for mark in "\u0300\u0301\u0302\u0308"]
    table = {text: unicodedata.normalize("NFKC", text) for text in (*letters, *pairs)}
    return table | dict.fromkeys(BLANKS, " ") | dict.fromkeys(NOTHING, "")


def compile_charsmap(table):
    """The charsmap of these replacements as bytes, its double array as darts-clone lays it out."""
    texts, starts = b"", {}
    for text, replacement in table.items():
        starts[text.encode()] = len(texts)
        texts += replacement.encode() + b"\0"
    array = DoubleArray(starts).units
    return struct.pack(f"<I{len(array)}I", 4 * len(array), *array) + texts


class DoubleArray:
    """units: u32 of keys (bytes) -> values; the byte c leads from the unit at i, by its offset, to

    the one at i ^ offset ^ c, whose lowest byte is c; a value is where 0 would lead.
    """

    def __init__(self, values):
        self.values = values
        self.units, self.taken, self.bases = [0] * 256, {0}, set()
        self.add(0, b"", sorted(values))
        self.units += [0] * 256  # what a lookup may look at past the end

    def add(self, at, prefix, keys):
        depth = len(prefix)
        labels = sorted({key[depth] if len(key) > depth else 0 for key in keys})
        base = self.find_base(labels)
        self.units[at] |= (at ^ base) << 10
        for label in labels:
            if not label:
                self.units[at] |= HAS_LEAF
                self.units[base] = LEAF | self.values[prefix]
                continue
            self.units[base ^ label] = label
        for label in filter(None, labels):
            below = [key for key in keys if key[depth:depth + 1] == bytes([label])]
            self.add(base ^ label, prefix + bytes([label]), below)

    def find_base(self, labels):
        base = 1
        while base in self.bases or any(base ^ label in self.taken for label in labels):
            base += 1
        self.bases.add(base)
        self.taken.update(base ^ label for label in labels)
        self.units += [0] * (max(base | 255, len(self.units) - 1) + 1 - len(self.units))
        return base


def last(token, index):
    """The post-processor that puts a token behind the prompt."""
    def piece(name, kind="Sequence"):
        return {kind: {"id": name, "type_id": 0}}

    single, end = [piece("A"), piece(token, "SpecialToken")], piece(token, "SpecialToken")
    return {"type": "TemplateProcessing", "single": single, "pair": [*single, piece("B"), end],
            "special_tokens": {token: {"id": token, "ids": [index], "tokens": [token]}}}


def write(path, values):
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
