"""Vocabularies from which their merges follow, and what an instruction is counted with."""

import json

import pytest
from tokenizers import Tokenizer

from export.errors import ExportError
from export.prompts.instruction import COMPLEX_HUMAN_INSTRUCTION, Instruction, measure_instruction
from export.prompts.tokenizer import read_tokenizer
from tests.gemma_tokenizer import SPACE, given, merges, vocabulary, write_tokenizer
from tests.web.texts import TEXTS, random_texts


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    return tmp_path


def read(folder, **changes):
    """The tokenizer with other values in tokenizer.json; config: in tokenizer_config.json."""
    for name, values in (("tokenizer_config.json", changes.pop("config", {})),
                         ("tokenizer.json", changes)):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))
    return read_tokenizer(folder, chat=False, pads_right=True)


def compact(folder, **model):
    """The model as the site has it, with other values in its source."""
    write_tokenizer(folder)
    source = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    return json.loads(read(folder, model=source | model).file)["model"]


def test_the_site_has_the_tokens_alone(folder):
    tokens = vocabulary()
    model = compact(folder)
    assert model["pieces"].split(" ") == tokens and "merges" not in model and "vocab" not in model
    assert {tokens[index] for index in model["tied"]} >= {f"{SPACE}{SPACE}", "\n\n", "\t\t"}
    assert len(model["tied"]) <= len(given()) + 1
    assert model["byte_fallback"] is True and model["unk_token"] == "<unk>"


def test_the_step_that_never_finds_anything_is_left_out(folder):
    file = json.loads(read(folder).file)
    assert file["pre_tokenizer"] is None and file["normalizer"]["content"] == SPACE
    split = {"type": "Split", "pattern": {"String": "a"}, "behavior": "MergedWithPrevious"}
    with pytest.raises(ExportError, match="has the behavior 'MergedWithPrevious'"):
        read(folder, pre_tokenizer=split)
    with pytest.raises(ExportError, match="has the behavior 'MergedWithNext'"):
        read(folder, pre_tokenizer=split | {"pattern": {"String": " "}, "invert": True,
                                            "behavior": "MergedWithNext"})


def swapped(pairs):
    """Two ways to one token the other way round."""
    i = next(i for i in range(60, len(pairs)) if "".join(pairs[i]) == "".join(pairs[i + 1]))
    return [*pairs[:i], pairs[i + 1], pairs[i], *pairs[i + 2:]]


def renamed(vocab, old, new):
    return {new if token == old else token: index for token, index in vocab.items()}


def test_merges_that_do_not_follow_are_kept(folder):
    vocab = {token: index for index, token in enumerate(vocabulary())}
    pairs = merges(vocab)
    for case in (
        {"merges": pairs[:-1]}, {"merges": pairs[1:]}, {"merges": swapped(pairs)},
        {"merges": pairs[::-1]}, {"byte_fallback": False}, {"ignore_merges": True},
        {"end_of_word_suffix": "</w>"}, {"vocab": renamed(vocab, "<0xE2>", "<0xe2>")},
        {"vocab": renamed(vocab, "<unused0>", "<unused 0>")},
        {"vocab": {token: index + (index > 300) for token, index in vocab.items()}},
    ):
        model = compact(folder, **case)
        assert "pieces" not in model and len(model["merges"]) >= len(pairs) - 1, case
    assert "pieces" in compact(folder, vocab=renamed(vocab, "<0x41>", "<unused2>"), merges=pairs)


@pytest.mark.parametrize("text", [*TEXTS, *random_texts(40)])
def test_ids_at_export(folder, text):
    encoder, want = read(folder).encoder, Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert encoder.encode(text)[0] == want.encode(text).ids


def test_the_ids_that_no_prompt_changes(folder):
    encoder = read(folder).encoder
    for text, tail in (("Paint what follows.\n", 0), ("A line\nUser Prompt: ", None),
                       ("no line ends here", None), ("a line and <b", None), ("two ends\n\n", 0)):
        ids, firm = encoder.encode(text)
        for more in ("", "x", "\n", " a", "  ", ">", "\n\n\n", "雪", "▁", "<b>"):
            assert encoder.encode(text + more)[0][:firm] == ids[:firm], (text, more)
        assert firm >= 1 and (tail is None or firm < len(ids)), "a further line end would join"
    ids, firm = encoder.encode("A line\nUser Prompt: ")
    assert firm == len(encoder.encode("A line\n")[0])


def test_an_instruction(folder):
    tokenizer = read(folder)
    instruction = measure_instruction(tokenizer, COMPLEX_HUMAN_INSTRUCTION)
    text = "\n".join(COMPLEX_HUMAN_INSTRUCTION)
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    assert instruction.text == text and instruction.tokens == len(ids)
    assert 0.9 * len(ids) < instruction.prefix < len(ids)
    assert measure_instruction(tokenizer, None) is measure_instruction(tokenizer, []) is None


def test_the_rows_that_go_on():
    instruction = Instruction("...", tokens=208, prefix=204)
    assert instruction.manifest(300) == {
        "text": "...", "length": 506, "keep": [[0, 1], [207, 299]], "prefix": 204}
    assert instruction.manifest(2)["keep"] == [[0, 1], [207, 1]]
    assert instruction.manifest(1)["keep"] == [[0, 1]] and instruction.length(1) == 207


def test_an_instruction_that_cannot_be_counted(folder):
    with pytest.raises(ExportError, match=r"instruction '' has 1 tokens, expected 2 or more"):
        measure_instruction(read(folder), [""])
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    added[0]["lstrip"] = True
    with pytest.raises(ExportError, match="its tokens are counted only where all merges follow"):
        measure_instruction(read(folder, added_tokens=added), ["Paint: "])
    write_tokenizer(folder)
    for step in ({"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": " "}, "content": SPACE},
                 {"type": "Replace", "pattern": {"String": " "}}):
        other = read(folder, normalizer=step, pre_tokenizer=None,
                     config={"tokenizer_class": "PreTrainedTokenizerFast"})
        assert other.encoder is None, step


@pytest.mark.parametrize(("changes", "says"), [
    ({"config": {"add_bos_token": False}}, r"add_bos_token asks for \[\], and .* \['<bos>'\]"),
    ({"config": {"add_eos_token": True}}, r"add_eos_token asks for \['<eos>'\], and .* adds \[\]"),
    ({"post_processor": None}, r"add_bos_token asks for \['<bos>'\], and .* adds \[\]"),
    ({"normalizer": None, "pre_tokenizer": None}, "normalizer is None, expected that of Gemma"),
    ({"normalizer": {"type": "Lowercase"}, "pre_tokenizer": None}, "expected that of Gemma"),
])
def test_what_depends_on_the_version_of_transformers(folder, changes, says):
    with pytest.raises(ExportError, match=says):
        read(folder, **changes)
    assert read(folder, config={"tokenizer_class": "PreTrainedTokenizerFast"})


def test_padding_on_the_left_is_the_pipeline_s_to_change(folder):
    assert read(folder, config={"padding_side": "left"}).pad_token_id == 0
    assert read(folder, padding={"direction": "Left"}).pad_token_id == 0
    with pytest.raises(ExportError, match="padding_side is 'left'"):
        read_tokenizer(folder, chat=False)
    with pytest.raises(ExportError, match="truncation_side is 'left'"):
        read(folder, config={"truncation_side": "left"})


def test_the_tokens_that_the_class_has_of_its_own(folder):
    """GemmaTokenizer takes <mask> in a prompt for a token, though no file says so."""
    listed = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    without = [token for token in listed if token["content"] != "<mask>"]
    file = json.loads(read(folder, added_tokens=without).file)
    assert {token["content"]: token["id"] for token in file["added_tokens"]}["<mask>"] == 6
    config = folder / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"pad_token"', '"pad"').replace("<bos>", "<eos>"))
    with pytest.raises(ExportError, match=r"add_bos_token asks for \['<eos>'\]"):
        read(folder)
    config.write_text(config.read_text().replace('"bos_token"', '"bos"'))
    assert read(folder).pad_token_id == vocabulary().index("<pad>")
