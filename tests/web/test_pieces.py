"""The page's tokenizer of a vocabulary of Gemma's kind, against the tokenizers library."""

import unicodedata

import pytest
from tokenizers import Tokenizer

from tests.gemma_tokenizer import write_tokenizer
from tests.web.encoding import encode, entry
from tests.web.texts import RUNS, TEXTS, random_texts


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "tokenizer"
    write_tokenizer(folder)
    return folder


def library(folder, text):
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


def test_ids(folder):
    made = entry(folder, None, 8192, lower=False, strip=False)
    texts = [*TEXTS, *RUNS, *random_texts(300, [*TEXTS[:-3], *RUNS[:-1]])]
    for text, got in zip(texts, encode(made, [{"text": text} for text in texts]), strict=True):
        assert got["ids"][:got["valid"]] == library(folder, text), repr(text)
        assert got["keep"] == [[0, got["valid"]]] and "prefix" not in got


def test_capitals_and_blanks_as_python_has_them(folder):
    """Each of the letters that the two languages may take for blanks or capitals, alone."""
    made = entry(folder, None, 64)
    letters = [chr(code) for code in range(0x3100)
               if chr(code).isspace() or chr(code).lower() != chr(code) or not code % 97]
    letters = [letter for letter in letters if unicodedata.category(letter) != "Cn"]
    letters += ["\ufeff", "Ａ", "𐐀"]
    texts = [f"{a}x{b}Σ{c}" for a, b, c in zip(letters, letters[1:], letters[2:], strict=False)]
    got = encode(made, [{"text": text} for text in texts])
    for text, encoded in zip(texts, got, strict=True):
        ids = library(folder, text.lower().strip())
        assert encoded["ids"][:encoded["valid"]] == ids, repr(text)
