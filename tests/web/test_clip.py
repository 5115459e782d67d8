"""Prompts to CLIP's token ids: the page's as those of diffusers' FluxPipeline."""

import json
from types import SimpleNamespace

import pytest
import torch
from diffusers import FluxPipeline
from transformers import CLIPTokenizer

from export.prompts.tokenizer import read_tokenizer
from tests.clip_tokenizer import LENGTH, write_tokenizer
from tests.web.test_tokenizer import encode_all
from tests.web.texts import RUNS, TEXTS, random_texts

OWN = [  # what its words are, and what JavaScript has other blanks and small letters for
    "A FOX!!! (the garden)...", "it's they'll IT'S a's'd ''' 's", "12 foxes, 2048px ½ Ⅷ x²",
    "ΟΔΥΣΣΕΥΣ Σ ΑΣ. ΑΣΑ ΣΣ\u0301", "İI\u0307ıſẞ ǅ", "_\ufeffx \ufeff_ !\ufeff!",
    "a\u0085the\u001cfox \u200bin\u180e the\u3000snow\r\n", "\u0000 \u0007!\u0007",
    "<|startoftext|>the fox<|endoftext|>!! <|STARTOFTEXT|>the <|EndOfText|>!!<|ENDOFTEXT|>fox",
    "<|EndOfText|>", "<|startoftext|><|ENDOFTEXT|><|startoftext|>",
    "!!<|Endoftext|>the<| endoftext|>", "e\u0301te\u0301 \u1100\u1161 \u212b", "🦊🌲a🦊 雪雪the雪",
    "the garden, " * 30, "x" * 76, "x" * 75, "fox!" * 40,
]
ALL = [*TEXTS, *RUNS, *OWN, *random_texts(200, [*TEXTS[:-3], *RUNS[:-1], *OWN[:-4] * 4])]


class Ids(torch.nn.Module):
    """An encoder whose pooled row is the ids."""

    dtype, device = torch.float32, torch.device("cpu")

    def forward(self, ids, output_hidden_states):
        return SimpleNamespace(pooler_output=ids.float())


def encode(folder, length, texts):
    read = read_tokenizer(folder, chat=False)
    prompt = {"tokenizer": read.manifest(), "length": length, "mask": False,
              "template": {"prefix": "", "suffix": ""},
              "padding": {"id": read.pad_token_id, "side": "right"}}
    (got,) = encode_all([{"file": read.file.decode(), "prompt": prompt, "texts": texts}])
    return got


@pytest.mark.parametrize("length", [LENGTH, 20])
def test_prompts_as_diffusers_encodes_them(tmp_path, length):
    write_tokenizer(tmp_path, model_max_length=length)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    pipeline = FluxPipeline(None, None, Ids(), tokenizer, None, None, None)
    assert len(tokenizer) == 664
    for text, got in zip(ALL, encode(tmp_path, length, ALL), strict=True):
        (ids,) = pipeline._get_clip_prompt_embeds(text, device="cpu").int().tolist()
        assert got["ids"] == ids, repr(text)
        whole = len(tokenizer(text).input_ids)
        assert (got["count"], got["dropped"]) == (min(whole, length), max(0, whole - length))


def edit(name, **keys):
    def run(folder):
        path = folder / name
        values = (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}) | keys
        values = {key: value for key, value in values.items() if value is not None}
        path.write_text(json.dumps(values), encoding="utf-8")

    return run


def save_again(folder):
    """Beside the two files there is a tokenizer.json now."""
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    assert (folder / "tokenizer.json").exists()
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)


def leave_out(folder):
    """tokenizer.json as transformers 4 wrote it."""
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    split, levels = values["pre_tokenizer"]["pretokenizers"]
    split["pattern"]["Regex"] = split["pattern"]["Regex"].split("endoftext\\|>|")[1]
    del levels["use_regex"]
    for key in ("byte_fallback", "ignore_merges"):
        del values["model"][key]
    values["model"]["merges"] = [" ".join(pair) for pair in values["model"]["merges"]]
    path.write_text(json.dumps(values), encoding="utf-8")


CONFIG, MAP = "tokenizer_config.json", "special_tokens_map.json"
VARIANTS = {
    "saved by transformers": [save_again],
    "saved by transformers 4": [save_again, leave_out],
    "its own tokens told by the class alone": [
        lambda folder: (folder / MAP).unlink(),
        edit(CONFIG, **dict.fromkeys(("added_tokens_decoder", "bos_token", "eos_token",
                                      "pad_token", "unk_token")))],
    "flags told by the map alone": [edit(CONFIG, added_tokens_decoder=None)],
    "other flags there": [
        edit(CONFIG, added_tokens_decoder=None), edit(MAP, bos_token="<|startoftext|>", pad_token={
            "content": "?", "lstrip": True, "rstrip": True, "normalized": False})],
    "another token pads": [edit(CONFIG, pad_token="!")],
    "another token ends": [edit(CONFIG, eos_token="the</w>", unk_token="a")],
    "further tokens": [edit(CONFIG, additional_special_tokens=["<X>", "fox"])],
    "flags that the class does not read": [edit(CONFIG, add_bos_token=False, add_eos_token=False)],
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_other_files(tmp_path, changes):
    write_tokenizer(tmp_path)
    for change in changes:
        change(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    texts = ["a <X> fox!! foxes<x>", "FOX", "a fox  ?  !", *OWN, *ALL[:60]]
    for text, got in zip(texts, encode(tmp_path, LENGTH, texts), strict=True):
        want = tokenizer(text, padding="max_length", max_length=LENGTH, truncation=True)
        assert got["ids"] == want.input_ids, repr(text)
