"""Which parts a listing of files is found to lack: then they are looked for in a base."""

from pathlib import Path

import pytest

from export.families import FAMILIES
from export.families.missing import has_tokenizer
from export.source.listing import Listing

CLIP, T5 = FAMILIES["flux1"].prompts


@pytest.mark.parametrize("prompt, names, there", [
    (CLIP, ["tokenizer/vocab.json"], True),
    (CLIP, ["text_encoder/vocab.json", "text_encoder/merges.txt"], True),
    (CLIP, ["text_encoder/vocab.json"], False),
    (CLIP, ["text_encoder/tokenizer/tokenizer.json"], True),
    (CLIP, ["text_encoder-mlx-4bit/tokenizer.json"], True),
    (CLIP, ["text_encoder_2/tokenizer.json"], False),
    (T5, ["text_encoder_2/tokenizer.json"], True),
    (T5, ["text_encoder_2/vocab.json", "text_encoder_2/merges.txt"], False),
    (T5, ["text_encoder/tokenizer.json", "tokenizer/tokenizer.json"], False),
])
def test_a_tokenizer_is_where_its_own_encoder_is(prompt, names, there):
    listing = Listing("here", tuple(names), Path(), Path)
    assert has_tokenizer(listing, prompt, prompt.encoder) == there
