"""Prompts to token ids: the page's tokenizer against transformers', as diffusers calls it."""

import json
import shutil
from functools import lru_cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from export.prompts.tokenizer import read_tokenizer
from tests.checkpoints import make_checkpoint
from tests.goldens import padded
from tests.qwen_tokenizer import write_large_tokenizer
from tests.reference import call_arguments
from tests.web.node import WEB, call
from tests.web.texts import TEXTS, random_texts

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
ENCODE = """async ({ web, jobs }) => {
  const { PromptTokenizer } = await import(new URL('api/tokenizer.js', web));
  return jobs.map(({ file, prompt, texts }) => {
    const tokenizer = new PromptTokenizer(JSON.parse(file), prompt);
    return texts.map((text) => {
      const { ids, count, dropped } = tokenizer.encode(text);
      return { ids: [...ids], count, dropped };
    });
  });
}"""


def encode_all(jobs):
    """A list of {ids, count, dropped} for each job: {file, prompt, texts}."""
    return call(ENCODE, {"web": WEB, "jobs": jobs})


def job(folder, length, texts):
    """The texts, to be encoded with what a site has of a checkpoint's tokenizer/ folder."""
    read = read_tokenizer(folder)
    prompt = {"tokenizer": read.manifest(), "length": length, "mask": True,
              "template": {"prefix": read.prefix, "suffix": read.suffix},
              "padding": {"id": read.pad_token_id, "side": "right"}}
    return {"file": read.file.decode(), "prompt": prompt, "texts": texts}


@pytest.fixture(scope="module", params=["shallow-mlx", "klein-unpacked", "garden"])
def model(request, tmp_path_factory):
    """Checkpoints whose tokenizers were saved by transformers 4 and 5, and the embedded one."""
    if request.param == "garden":
        return GARDEN
    shape, layout = request.param.split("-")
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", shape, layout=layout)


def encode(model, texts):
    length = call_arguments(model)["max_sequence_length"]
    (got,) = encode_all([job(model / "tokenizer", length, texts)])
    return got


def test_known_texts(model):
    for text, got in zip(TEXTS, encode(model, TEXTS), strict=True):
        assert got == expected(model, text), f"{text[:60]!r}"


def test_random_texts(model):
    texts = random_texts(300)
    for text, got in zip(texts, encode(model, texts), strict=True):
        assert got == expected(model, text), repr(text)


def test_a_tokenizer_of_qwen_s_size(tmp_path):
    write_large_tokenizer(tmp_path)
    bare = {"tokenizer": {}, "length": 4096, "template": {"prefix": "", "suffix": ""},
            "padding": {"id": 0, "side": "right"}}
    (got,) = encode_all([job(tmp_path, 4096, TEXTS) | {"prompt": bare}])
    want = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text, encoded in zip(TEXTS, got, strict=True):
        assert encoded["ids"][:encoded["count"]] == want.encode(text).ids, f"{text[:60]!r}"


def test_half_a_character_is_read_as_utf_8_has_it(model):
    texts = ["a \ud83d pine", "\udf32", "\udf32\ud83c", "a 🌲\ud83c"]
    for text, got in zip(texts, encode(model, texts), strict=True):
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert "\ufffd" in whole and got == expected(model, whole), repr(text)


X = {"content": "<X>", "special": True}
LENGTH = 24
VARIED = ["a <X> pine <|im_end|> !q", "a long one, " * 12, "<X><X>a <X> <|endoftext|>", "",
          "<|im_start|> <X>pine"]


def pieces(*texts, **ids):
    """A post-processor that puts tokens around the prompt (None)."""
    single = [{"SpecialToken": {"id": text, "type_id": 0}} if text
              else {"Sequence": {"id": "A", "type_id": 0}} for text in texts]
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


def test_tokens_wherever_the_files_say_them(tmp_path):
    """Each variant has the ids of AutoTokenizer, of short prompts and of cut ones."""
    jobs, wants = [], []
    for i, files in enumerate(VARIANTS):
        folder = shutil.copytree(GARDEN / "tokenizer", tmp_path / str(i))
        for name, keys in files.items():
            path = folder / name
            values = (json.loads(path.read_text()) if path.exists() else {}) | keys
            path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
        jobs.append(job(folder, LENGTH, VARIED))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        wants.append([padded(tokenizer, text, LENGTH) for text in VARIED])
    for files, got, want in zip(VARIANTS, encode_all(jobs), wants, strict=True):
        assert got == want, files


@lru_cache(maxsize=3)
def tokenizer_of(model):
    return AutoTokenizer.from_pretrained(model / "tokenizer")


def expected(model, text):
    """What diffusers' pipeline gives the text encoder."""
    return padded(tokenizer_of(model), text, call_arguments(model)["max_sequence_length"])
