"""A small tokenizer of Qwen3's kind, in the files that Qwen3 ships."""

import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers import pre_tokenizers as split

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
THINK = ["<think>", "</think>"]  # added tokens, but not special ones
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
MERGES = 151_387  # of Qwen3, 1.67 MB as lines of "left right"
CORPUS = """user assistant a red fox asleep in the snow, an old pine bent by the wind over a stone
the pale moon above a quiet garden; two juniper trees and a wooden bridge in morning fog
it's raining, they've left, we'll paint the river's edge. 12 lanterns, 2048 maple leaves
一棵小松树 雪中的红狐狸 花园里的月亮 старый сад у реки ein kleiner Garten am Fluß, été à la mer"""


def write_tokenizer(folder):
    """A byte-level BPE with Qwen's pieces and special tokens, in the files that Qwen3 ships."""
    bytes_only = split.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split.Sequence([split.Split(Regex(PIECES), "isolated"), bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=sorted(split.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator([CORPUS] * 2, trainer)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in THINK])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    added = {str(tokenizer.token_to_id(t)): {"content": t, "special": t in SPECIAL} | flags
             for t in SPECIAL + THINK}
    config = {
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": added,
        "additional_special_tokens": SPECIAL[1:], "bos_token": None, "chat_template": TEMPLATE,
        "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 131072,
        "pad_token": "<|endoftext|>", "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def write_large_tokenizer(folder):
    """As write_tokenizer, with as many and as long random merges as Qwen3 has, or longer."""
    write_tokenizer(folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    chance = random.Random(0)
    tokens = sorted(split.ByteLevel.alphabet())
    known, short, merges = set(tokens), list(tokens), []  # short: up to four letters
    while len(merges) < MERGES:
        left, right = chance.choice(short), chance.choice(short)
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
            merges.append([left, right])
            if len(left + right) <= 4:
                short.append(left + right)
    tokenizer["model"] |= {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges}
    for i, added in enumerate(tokenizer["added_tokens"]):
        added["id"] = len(tokens) + i
    path.write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False), encoding="utf-8")
