"""T5 in the page as in transformers: prompts to token ids, as diffusers' FluxPipeline has them, and

the buckets of distances.
"""

import json
import random

import pytest
import torch
from diffusers import FluxPipeline
from transformers import T5TokenizerFast
from transformers.models.t5.modeling_t5 import T5Attention

from export.prompts.tokenizer import read_tokenizer
from tests.t5_tokenizer import replacements, write_tokenizer
from tests.web.node import WEB, call
from tests.web.test_tokenizer import encode_all
from tests.web.texts import RUNS, TEXTS, random_texts

OWN = [  # what the charsmap, the marks of words and unknown letters do
    "ﬁne ½ of a e\u0301te\u0301, Ⅷ…", "＜unk＞ ＜pad＞ <unk> </s> ＜/s＞",
    "<extra_id_0>a fox<extra_id_7> <extra_id_100>", "\u2581\u2581a\u2581fox\u2581 \u2581",
    "½\u0301 ｆ\u0308ｏｘ a\u0301\u0302 \u0301 E\u0301x", "🦊🌲a🦊 🦊 雪雪fox雪",
    "a\u200bfox\u00adasleep \u0001\u0007 \ufeff", "a\u0085fox\u001cin\x0bthe\x0csnow",
    "\u0600a \u0605½ \r\n\r\nfox\r\n", "\u0000fox \u0000", "the" * 90,
]
ALL = [*TEXTS, *RUNS, *OWN, *random_texts(150, [*TEXTS[:-3], *RUNS[:-1], *OWN[:-1] * 6])]
BUCKETS = """async ({ web, cases, most }) => {
  const { bucketOf } = await import(new URL('models/text_encoders/t5.js', web));
  return cases.map(([buckets, distance]) => Array.from({ length: 2 * most + 1 },
    (_, i) => bucketOf(i - most, buckets, distance)));
}"""


class Ids(torch.nn.Module):
    """An encoder whose rows are the ids."""

    dtype, device = torch.float32, torch.device("cpu")

    def forward(self, ids, output_hidden_states):
        return (ids[..., None].float(),)


def encode(folder, length, texts):
    """What the page makes of texts, of a prompt of which nothing is masked."""
    read = read_tokenizer(folder, chat=False)
    prompt = {"tokenizer": read.manifest(), "length": length, "mask": False,
              "template": {"prefix": "", "suffix": ""},
              "padding": {"id": read.pad_token_id, "side": "right"}}
    (got,) = encode_all([{"file": read.file.decode(), "prompt": prompt, "texts": texts}])
    return got


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5") / "tokenizer_2"
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("length", [24, 512])
def test_prompts_as_diffusers_encodes_them(folder, length):
    tokenizer = T5TokenizerFast.from_pretrained(folder)
    pipeline = FluxPipeline(None, None, None, None, Ids(), tokenizer, None)
    assert type(tokenizer).__name__ == "T5Tokenizer" and len(tokenizer) == 442
    for text, got in zip(ALL, encode(folder, length, ALL), strict=True):
        rows = pipeline._get_t5_prompt_embeds(text, max_sequence_length=length,
                                              device="cpu", dtype=torch.float32)
        assert got["ids"] == rows[0, :, 0].int().tolist(), repr(text)
        whole = len(tokenizer(text).input_ids)
        assert (got["count"], got["dropped"]) == (min(whole, length), max(0, whole - length))


def save_again(folder):
    T5TokenizerFast.from_pretrained(folder).save_pretrained(folder)


def edit(name, change):
    def run(folder):
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        change(values)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")

    return run


def without_extra_ids(values):
    model = values["model"]
    model["vocab"] = [pair for pair in model["vocab"] if "extra_id" not in pair[0]]
    values["added_tokens"] = values["added_tokens"][:3]


def without_charsmap(values):
    values["normalizer"] = None


CONFIG, FILE = "tokenizer_config.json", "tokenizer.json"
VARIANTS = {
    "saved by transformers": [save_again],
    "no class is named": [edit(CONFIG, lambda v: v.pop("tokenizer_class"))],
    "no charsmap": [edit(FILE, without_charsmap)],
    "100 tokens of the class's own": [edit(FILE, without_extra_ids), edit(CONFIG, lambda v: (
        v.pop("added_tokens_decoder"), v.pop("additional_special_tokens")))],
    "five of them": [edit(FILE, without_extra_ids), edit(CONFIG, lambda v: (
        v.pop("added_tokens_decoder"), v.pop("additional_special_tokens"), v.update(extra_ids=5)))],
    "others in their place": [edit(FILE, without_extra_ids), edit(CONFIG, lambda v: (
        v.pop("added_tokens_decoder"), v.update(additional_special_tokens=["<X>", "fox"])))],
    "a charsmap of other texts": [lambda folder: write_tokenizer(folder, random_charsmap())],
}


def random_charsmap():
    """Of texts of one letter and of several, of which some begin others."""
    chance, letters = random.Random(0), "abfoxé½雪🦊\u0301\u0300\u0600 e"
    texts = {"".join(chance.choices(letters, k=chance.randrange(1, 4))) for _ in range(60)}
    return {text: "".join(chance.choices(letters, k=chance.randrange(3))) for text in sorted(texts)}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_other_files(tmp_path, changes):
    write_tokenizer(tmp_path)
    for change in changes:
        change(tmp_path)
    tokenizer = T5TokenizerFast.from_pretrained(tmp_path)
    texts = [*ALL[:120], "<X>a <extra_id_4> foxes <extra_id_99>", *OWN]
    for text, got in zip(texts, encode(tmp_path, 8192, texts), strict=True):
        assert got["ids"][:got["count"]] == tokenizer(text).input_ids, repr(text)


def test_every_replacement(folder, tmp_path):
    """Alone, between letters, behind each other."""
    tokenizer = T5TokenizerFast.from_pretrained(folder)
    texts = [piece.join(ends) for piece in replacements() for ends in (("a", "b"), ("", piece))]
    for text, got in zip(texts, encode(folder, 64, texts), strict=True):
        assert got["ids"][:got["count"]] == tokenizer(text).input_ids, repr(text)


def test_distances_fall_into_the_buckets_of_transformers():
    """Also where the logarithm lies on a border, and past the last one."""
    cases, most = [(32, 128), (32, 64), (8, 20), (4, 3), (33, 130), (128, 1000)], 1100
    got = call(BUCKETS, {"web": WEB, "cases": cases, "most": most})
    distances = torch.arange(-most, most + 1)
    for case, buckets in zip(cases, got, strict=True):
        want = T5Attention._relative_position_bucket(distances, True, *case)
        assert buckets == want.tolist(), case
