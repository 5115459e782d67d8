"""Prompts to token ids as Sana has them: against diffusers' pipelines, and Gemma 2's own tokenizer

against the tokenizers library.
"""

import inspect
import json

import pytest
import torch
from diffusers import SanaPipeline, SanaSprintPipeline
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from export.prompts.instruction import COMPLEX_HUMAN_INSTRUCTION
from tests.gemma_tokenizer import gemma_tokenizer, write_tokenizer
from tests.web.encoding import encode, entry
from tests.web.node import WEB, call
from tests.web.texts import RUNS, TEXTS, random_texts

ALL = [*TEXTS, *RUNS, *random_texts(60, [*TEXTS[:-3], *RUNS[:-1]])]
SHORT = ("Paint what is asked for.\n", "Asked: ")
LOAD = """async ({ web, path, prompt, text }) => {
  const { readFileSync } = await import('node:fs');
  const { PromptTokenizer } = await import(new URL('api/tokenizer.js', web));
  const { setFlagsFromString } = await import('node:v8');
  setFlagsFromString('--expose-gc');
  globalThis.gc = (await import('node:vm')).runInNewContext('gc');
  globalThis.gc();
  const before = process.memoryUsage();
  const started = performance.now();
  const load = () => new PromptTokenizer(JSON.parse(readFileSync(path, 'utf8')), prompt);
  const tokenizer = load();
  const loaded = performance.now();
  const { valid } = tokenizer.encode(text);
  const encoded = performance.now();
  globalThis.gc();
  const after = process.memoryUsage();
  const kept = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  const [, peak] = /VmHWM:\\s+(\\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
  return { before: before.rss, peak: peak * 1024, kept, valid, loadMs: loaded - started,
    encodeMs: encoded - loaded };
}"""


class Rows(torch.nn.Module):
    """An encoder whose rows are the ids, so that what is selected of them can be told."""

    dtype = torch.float32

    def forward(self, ids, attention_mask):
        self.ids = ids[0].tolist()
        return (ids[..., None].float(),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "tokenizer"
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def sana(folder):
    """diffusers' pipeline with the small tokenizer, which pads on the left of its own."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.padding_side == "left" and len(tokenizer) == 560
    return SanaPipeline(tokenizer, Rows(), None, None, None)


def selected(sana, text, lines, length, negative):
    """The ids that are read, and those whose rows go on."""
    asked = ("", text) if negative else (text, "")
    found = sana.encode_prompt(asked[0], True, asked[1], device="cpu", max_sequence_length=length,
                               complex_human_instruction=lines)
    read = sana.text_encoder.ids  # the negative prompt comes last
    rows, mask = found[2:] if negative else found[:2]
    return read if negative else None, rows[0, mask[0].bool(), 0].int().tolist()


@pytest.mark.parametrize(("lines", "length"), [
    (COMPLEX_HUMAN_INSTRUCTION, 300), (SHORT, 40), (("Asked: ",), 2), (SHORT, 1), (None, 300),
    ([], 24),
])
def test_prompts_as_diffusers_selects_their_rows(folder, sana, lines, length):
    texts = [{"text": text, "negative": negative} for text in (ALL if length == 40 else ALL[:60])
             for negative in (False, True)]
    made = entry(folder, lines, length)
    for asked, got in zip(texts, encode(made, texts), strict=True):
        read, rows = selected(sana, asked["text"], lines, length, asked["negative"])
        kept = [id for first, count in got["keep"] for id in got["ids"][first:first + count]]
        assert kept == rows, asked
        assert read is None or got["ids"] == read, asked
        assert got["count"] <= length and (got["count"] == length or not got["dropped"]), asked
        if lines and not asked["negative"]:
            shared = made[0]["instruction"]["prefix"]
            own = sana.tokenizer("\n".join(lines)).input_ids[:shared]
            assert got["prefix"] == shared and got["ids"][:shared] == own, asked


def test_the_instruction_is_diffusers_own():
    for pipeline in (SanaPipeline, SanaSprintPipeline):
        default = inspect.signature(pipeline.__call__).parameters["complex_human_instruction"]
        assert tuple(default.default) == COMPLEX_HUMAN_INSTRUCTION


def test_what_transformers_saves_is_read_the_same(folder, sana, tmp_path):
    sana.tokenizer.save_pretrained(tmp_path / "tokenizer")
    saved, own = (json.loads(entry(path, SHORT, 40)[1])
                  for path in (tmp_path / "tokenizer", folder))
    marked = {token["content"]: token for token in saved["added_tokens"]}
    assert marked.keys() == {token["content"] for token in own["added_tokens"]}
    assert all(saved[key] == own[key] for key in own if key != "added_tokens")


def test_gemma_2_s_own_tokenizer(tmp_path):
    """Every id of the tokenizers library; what it takes to download, to load and to keep."""
    folder = gemma_tokenizer()
    prompt, file = entry(folder, COMPLEX_HUMAN_INSTRUCTION, 300)
    bare = prompt | {"template": {"prefix": "", "suffix": ""}, "length": 8192, "instruction": None}
    texts = [*ALL, "\n".join(COMPLEX_HUMAN_INSTRUCTION), *random_texts(300)]
    want = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text, got in zip(texts, encode((bare, file), [{"text": t} for t in texts]), strict=True):
        assert got["ids"][:got["valid"]] == want.encode(text).ids, repr(text)
    own = len(want.encode("\n".join(COMPLEX_HUMAN_INSTRUCTION)).ids)
    assert prompt["instruction"]["length"] == own + 298
    assert prompt["instruction"]["prefix"] >= own - 8

    path = tmp_path / "tokenizer.json"
    path.write_text(file, encoding="utf-8")
    took = call(LOAD, {"web": WEB, "path": str(path), "prompt": prompt, "text": TEXTS[2]})
    print(json.dumps({"bytes": path.stat().st_size} | took))
    assert path.stat().st_size <= 5e6 and took["peak"] <= 120e6 and took["kept"] <= 8e6
