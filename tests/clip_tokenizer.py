"""A small tokenizer of CLIP's kind, in the files that CLIP ships: byte-level BPE."""

import json
import re
from collections import Counter

from tests.gemma_tokenizer import join

START, END = "<|startoftext|>", "<|endoftext|>"
ENDS = "</w>"  # of a word's last letter
LEARNED = 150
LENGTH = 77
CORPUS = """a red fox asleep in the snow, an old pine bent by the wind over a stone lantern
the pale moon above a quiet garden; two juniper trees and a wooden bridge in morning fog
it's raining, they've left, we'll paint the river's edge. 12 lanterns, 2048 maple leaves
a small, fluffy white cat, sleeping in the garden of shapes and colors!! été à la mer...
σε έναν κήπο, 雪の中の狐が眠る, старый сад у реки"""


def write_tokenizer(folder, **config):
    """vocab.json, merges.txt, special_tokens_map.json and tokenizer_config.json with these keys.

    Its ids are, as in CLIP's own, letters, letters that end a word, what merges make, and the two
    special tokens.
    """
    letters = list(byte_letters().values())
    merges = learn()
    tokens = [*letters, *(letter + ENDS for letter in letters), *map("".join, merges), START, END]
    vocab = {token: index for index, token in enumerate(tokens)}
    flags = {"lstrip": False, "rstrip": False, "single_word": False}
    named = {key: {"content": END, **flags, "normalized": False}
             for key in ("eos_token", "pad_token", "unk_token")}
    start = {"content": START, **flags, "normalized": True}
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "vocab.json", vocab)
    lines = ["#version: 0.2", *map(" ".join, merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    write(folder / "special_tokens_map.json", {"bos_token": start, **named})
    write(folder / "tokenizer_config.json", {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(vocab[START]): start | {"special": True},
            str(vocab[END]): named["eos_token"] | {"special": True}},
        "bos_token": START, "clean_up_tokenization_spaces": True, "do_lower_case": True,
        "eos_token": END, "errors": "replace", "model_max_length": LENGTH, "pad_token": END,
        "tokenizer_class": "CLIPTokenizer", "unk_token": END,
    } | config)


def byte_letters():
    """byte -> the letter that stands for it: itself if it can be seen, else one from U+0100 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + i)
                                                 for i, byte in enumerate(others)}


def learn():
    """Pairs of tokens, most frequent first, each of which makes another token."""
    letters = byte_letters()
    words = Counter()
    for word in re.findall(r"'\w+|[^\W\d_]+|\d|[^\s\w]+", CORPUS):
        parts = [letters[byte] for byte in word.encode()]
        words[(*parts[:-1], parts[-1] + ENDS)] += 1
    pairs = []
    while len(pairs) < LEARNED:
        found = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                found[pair] += count
        best = max(found, key=lambda pair: (found[pair], pair))
        pairs.append(best)
        words = Counter({join(word, best): count for word, count in words.items()})
    return pairs


def write(path, values):
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
