"""Prompts to token ids: the browser's tokenizer against transformers', as diffusers calls it."""

import json
import random
import shutil
from functools import lru_cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from export.prompts.tokenizer import read_tokenizer
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
  const { loadTokenizers } = await import(new URL('api/tokenizer.js', library.code));
  const manifest = await (await fetch(new URL('manifest.json', base))).json();
  const [tokenizer] = await loadTokenizers(manifest, new URL('manifest.json', base));
  return JSON.parse(texts).map((text) => {
    const { ids, count, dropped } = tokenizer.encode(text);
    return { ids: [...ids], count, dropped };
  });
}"""

ENCODE_WITH = """async ([url, file, texts]) => {
  const { PromptTokenizer } = await import(new URL('api/tokenizer.js', library.code));
  const tokenizer = new PromptTokenizer(JSON.parse(file), { tokenizer: {}, length: 4096,
    template: { prefix: '', suffix: '' }, padding: { id: 0, side: 'right' } });
  return texts.map((text) => {
    const { ids, count } = tokenizer.encode(text);
    return [...ids.slice(0, count)];
  });
}"""


ENCODE_ALL = """async ([url, jobs]) => {
  const { PromptTokenizer } = await import(new URL('api/tokenizer.js', library.code));
  return jobs.map(({ file, prompt, texts }) => {
    const tokenizer = new PromptTokenizer(JSON.parse(file), prompt);
    return texts.map((text) => {
      const { ids, count, dropped } = tokenizer.encode(text);
      return { ids: [...ids], count, dropped };
    });
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
        # As JSON, which spells half a character where the way to the browser would not.
        yield lambda texts: library.page.evaluate(ENCODE, [url, json.dumps(texts)])


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


def test_half_a_character_is_read_as_utf_8_has_it(model, encode):
    texts = ["a \ud83d pine", "\udf32", "\udf32\ud83c", "a 🌲\ud83c"]
    for text, got in zip(texts, encode(texts), strict=True):
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert "\ufffd" in whole and got == expected(model, whole), repr(text)


X = {"content": "<X>", "special": True}
LENGTH = 24
VARIED = ["a <X> pine <|im_end|> !q", "a long one, " * 12, "<X><X>a <X> <|endoftext|>", "",
          "<|im_start|> <X>pine"]  # fmt: skip


def pieces(*texts, **ids):
    """A post-processor that puts tokens around the prompt (None)."""
    single = [{"SpecialToken": {"id": text, "type_id": 0}} if text
              else {"Sequence": {"id": "A", "type_id": 0}} for text in texts]  # fmt: skip
    both = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    table = {text: {"id": text, "ids": [index], "tokens": [text]} for text, index in ids.items()}
    return {"type": "TemplateProcessing", "single": single, "pair": both, "special_tokens": table}


START, END = {"<|im_start|>": 1}, {"<|endoftext|>": 0}
CONFIG, FILE, MAP = "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json"
VARIANTS = [  # file, keys (None takes one away), and a second file
    {CONFIG: {"pad_token": None}},
    {CONFIG: {"pad_token": None}, MAP: {"pad_token": "<|im_end|>"}},
    {MAP: {"pad_token": {"content": "<|im_end|>"}, "eos_token": "<X>"}},
    {CONFIG: {"added_tokens_decoder": {"1000": X}, "pad_token": None}, MAP: {"pad_token": "!"}},
    {CONFIG: {"added_tokens_decoder": {"961": X | {"lstrip": True, "rstrip": True}}}},
    {CONFIG: {"added_tokens_decoder": {"961": {"content": "<X>", "normalized": True}}}},
    {CONFIG: {"extra_special_tokens": ["<X>", "ine"]}},
    {CONFIG: {"extra_special_tokens": {"x_token": "<X>"}, "eos_token": "pine"}},
    {CONFIG: {"extra_special_tokens": None, "additional_special_tokens": ["<X>"]}},
    {CONFIG: {"extra_special_tokens": None}, MAP: {"additional_special_tokens": ["<X>"]}},
    {MAP: {"extra_special_tokens": ["<X>"]}}, {"added_tokens.json": {"<X>": 1000}},
    {CONFIG: {"image_token": "<X>", "add_bos_token": True, "bos_token": "<|im_start|>"}},
    {CONFIG: {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": {"961": X}}},
    {FILE: {"post_processor": pieces("<|im_start|>", None, **START)}},
    {FILE: {"post_processor": pieces("<|im_start|>", None, "<|endoftext|>", **START, **END)}},
]


def test_tokens_wherever_the_files_say_them(site, server, browser, tmp_path):
    """Each variant has the ids of AutoTokenizer, of short prompts and of cut ones."""
    jobs, wants = [], []
    for i, files in enumerate(VARIANTS):
        folder = shutil.copytree(GARDEN / "tokenizer", tmp_path / str(i))
        for name, keys in files.items():
            path = folder / name
            values = (json.loads(path.read_text()) if path.exists() else {}) | keys
            path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
        read = read_tokenizer(folder)
        prompt = {"tokenizer": read.manifest(), "length": LENGTH,
                  "template": {"prefix": read.prefix, "suffix": read.suffix},
                  "padding": {"id": read.pad_token_id, "side": "right"}}  # fmt: skip
        jobs.append({"file": read.file.decode(), "prompt": prompt, "texts": VARIED})
        tokenizer = AutoTokenizer.from_pretrained(folder)
        wants.append([padded(tokenizer, text, LENGTH) for text in VARIED])
    url = server(site(GARDEN))
    with Library(browser, url) as library:
        gots = library.page.evaluate(ENCODE_ALL, [url, jobs])
    for files, got, want in zip(VARIANTS, gots, wants, strict=True):
        assert got == want, files


@lru_cache(maxsize=3)
def tokenizer_of(model):
    return AutoTokenizer.from_pretrained(model / "tokenizer")


def expected(model, text):
    """What diffusers' pipeline gives the text encoder."""
    return padded(tokenizer_of(model), text, call_arguments(model)["max_sequence_length"])


def padded(tokenizer, text, length):
    whole = chat(tokenizer, text)
    ids = tokenizer(whole, padding="max_length", truncation=True, max_length=length)
    return {"ids": ids["input_ids"], "count": sum(ids["attention_mask"]),
            "dropped": max(0, len(tokenizer(whole)["input_ids"]) - length)}
