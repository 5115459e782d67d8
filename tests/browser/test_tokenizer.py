"""Prompts to token ids: the browser's tokenizer against transformers', as diffusers calls it."""

import random
from functools import lru_cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from export.tokenizer import read_tokenizer
from tests.browser.library import Library
from tests.checkpoints import make_checkpoint
from tests.qwen_tokenizer import write_large_tokenizer
from tests.reference import call_arguments, chat

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
TEXTS = [
    "",
    " ",
    "an old pine in the snow",
    "  two leading blanks, two trailing  ",
    "\nstarts with a newline",
    "ends with newlines\n\n",
    "tabs\tand\r\nWindows line ends\r\n\r\n  and   runs of blanks",
    "It's, they've, WE'LL, I'M, you'd've; don't 'quote' 'S",
    "2048 px, 3.14159, 1e-6, ½, ٣٤, Ⅷ, 一二三",
    "雪中的一棵小松树，旁边有一只红狐狸。",
    "桜の木の下で、猫が眠っている。ｶﾀｶﾅ",
    "старый сад у реки, утренний туман",
    "شجرة قديمة في الثلج",
    "हिमालय में एक पुराना पेड़",
    "ต้นสนเก่าในหิมะ",
    "소나무와 눈",
    "e\u0301te\u0301 decomposed, été composed, ﬁ ligature, Å Å",
    "🦊 🌲❄️ 👩‍👩‍👧 🏳️‍🌈 👍🏽 🇯🇵",
    "zero\u200bwidth, soft\u00adhyphen, no\u00a0break, \ufeffbom, \u0001 control",
    "<|im_end|>\n<|im_start|>system\nspecial tokens in a prompt<|endoftext|>",
    "<think>thinking</think> <|im_start <|unknown|> |im_end|>",
    "a_snake_case #hashtag @name https://example.org/?q=1&r=2 {json: [1, 2]}",
    "x" * 500,
    "a quiet garden with a stone lantern and two juniper trees, " * 40,
    "雪" * 700,
]
ENCODE = """async ([url, texts]) => {
  const base = new URL('model/', url);
  const { PromptTokenizer } = await import(new URL('models/tokenizer.js', library.code));
  const manifest = await (await fetch(new URL('manifest.json', base))).json();
  const tokenizer = await PromptTokenizer.load(manifest, new URL('manifest.json', base));
  return texts.map((text) => {
    const { ids, count, dropped } = tokenizer.encode(text);
    return { ids: [...ids], count, dropped };
  });
}"""

ENCODE_WITH = """async ([url, file, texts]) => {
  const { PromptTokenizer } = await import(new URL('models/tokenizer.js', library.code));
  const template = { config: {}, prefix: '', suffix: '', pad_token_id: 0 };
  const tokenizer = new PromptTokenizer(JSON.parse(file), template, 4096);
  return texts.map((text) => {
    const { ids, count } = tokenizer.encode(text);
    return [...ids.slice(0, count)];
  });
}"""


@pytest.fixture(scope="module", params=["shallow-mlx", "klein-unpacked", "garden"])
def model(request, tmp_path_factory):
    """Checkpoints whose tokenizers were saved by transformers 4 and 5, and the embedded one."""
    if request.param == "garden":
        return GARDEN
    shape, layout = request.param.split("-")
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", shape, layout=layout)


@pytest.fixture(scope="module")
def encode(model, site, server, browser):
    """encode(texts) -> [{ids, count, dropped}], in the browser."""
    url = server(site(model))
    with Library(browser, url) as library:
        yield lambda texts: library.page.evaluate(ENCODE, [url, texts])


def test_known_texts(model, encode):
    for text, got in zip(TEXTS, encode(TEXTS), strict=True):
        assert got == expected(model, text), f"{text[:60]!r}"


def test_random_texts(model, encode):
    """Pieces of the texts above, cut anywhere and joined in any order."""
    chance = random.Random(0)
    letters = "".join(TEXTS[:-3])
    texts = []
    for _ in range(300):
        cuts = [chance.randrange(len(letters)) for _ in range(chance.randrange(1, 6))]
        texts.append("".join(letters[cut:cut + chance.randrange(1, 12)] for cut in cuts))
    for text, got in zip(texts, encode(texts), strict=True):
        assert got == expected(model, text), repr(text)


def test_a_tokenizer_of_qwen_s_size(site, server, browser, tmp_path):
    write_large_tokenizer(tmp_path)
    url, file = server(site(GARDEN)), read_tokenizer(tmp_path).file.decode()
    want = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    with Library(browser, url) as library:
        got = library.page.evaluate(ENCODE_WITH, [url, file, TEXTS])
    for text, ids in zip(TEXTS, got, strict=True):
        assert ids == want.encode(text).ids, f"{text[:60]!r}"


@lru_cache(maxsize=3)
def tokenizer_of(model):
    return AutoTokenizer.from_pretrained(model / "tokenizer")


def expected(model, text):
    """What diffusers' pipeline gives the text encoder."""
    tokenizer = tokenizer_of(model)
    length = call_arguments(model)["max_sequence_length"]
    whole = chat(tokenizer, text)
    padded = tokenizer(whole, padding="max_length", truncation=True, max_length=length)
    return {"ids": padded["input_ids"], "count": sum(padded["attention_mask"]),
            "dropped": max(0, len(tokenizer(whole)["input_ids"]) - length)}
