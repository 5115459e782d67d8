"""tokenizer.json becomes compact without loss, the chat template a prefix and a suffix."""

import hashlib
import json
from itertools import count
from pathlib import Path

import pytest

from export.errors import ExportError
from export.prompts import chat_template
from export.prompts.tokenizer import read_tokenizer
from tests.export.tiny import TEMPLATE, write_json, write_tokenizer
from tests.qwen_tokenizer import MERGES, write_large_tokenizer

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary" / "tokenizer"

# The published Qwen3 template's way with a single user message.
QWEN3 = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string \
and not(message.content.startswith('<tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "user" %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- else %}
        {{- raise_exception('unexpected role ' + message.role|tojson) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    return tmp_path


def use(folder, template, **config):
    values = {"chat_template": template, "pad_token": "<|endoftext|>"} | config
    write_json(folder / "tokenizer_config.json", values)
    return read_tokenizer(folder)


def test_qwen3_s_template(folder):
    tokenizer = use(folder, QWEN3)
    assert tokenizer.prefix == "<|im_start|>user\n"
    assert tokenizer.suffix == (
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


@pytest.mark.parametrize(("template", "prefix", "suffix"), [
    (TEMPLATE, "<|im_start|>user\n", "<|im_end|>\ngo<think>\n\n"),
    ("{{ messages[0].content }}", "", ""),
    ("{{ bos_token }}[{{ messages[0]['content'] }}]{{ eos_token }}", "<s>[", "]</s>"),
    ("  {% if true %}\nA{% endif %}\n{{ messages[-1].content }}", "A", ""),  # blocks are trimmed
    ("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
     "", ""),
    ("{% for m in messages %}{{ m.content }}{% break %}{% endfor %}!", "", "!"),
    ("{{ {'a': 'ü'}|tojson }}{{ messages[0].content }}", '{"a": "ü"}', ""),
    ([{"name": "tool", "template": "x"},
      {"name": "default", "template": "<{{ messages[0].content }}"}], "<", ""),
])
def test_templates(folder, template, prefix, suffix):
    tokenizer = use(folder, template, bos_token="<s>", eos_token={"content": "</s>"})
    assert (tokenizer.prefix, tokenizer.suffix) == (prefix, suffix)


def test_transformers_renders_the_same(folder):
    from transformers.utils.chat_template_utils import render_jinja_template

    for template in (QWEN3, TEMPLATE, "  {% if true %}\nA{% endif %}\n{{ messages[-1].content }}"):
        tokenizer = use(folder, template)
        prompt = "a <b> 'prompt' & \"more\"\n"
        messages = [{"role": "user", "content": prompt}]
        (text,), _ = render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=True, enable_thinking=False
        )
        assert text == tokenizer.prefix + prompt + tokenizer.suffix


def test_the_file_goes_before_the_key(folder):
    (folder / "chat_template.jinja").write_text("F{{ messages[0].content }}")
    assert use(folder, "K{{ messages[0].content }}").prefix == "F"


@pytest.mark.parametrize(("template", "says"), [
    ("{{ messages[0].content|trim }}", "changes the prompt"),
    ("{{ messages[0].content|upper|lower }}", "holds the prompt 0 times"),
    ("{{ messages[0].content }}{{ messages[0].content }}", "holds the prompt 2 times"),
    ("hello", "holds the prompt 0 times"),
    ("{% if %}", "does not render"),
    ("{{ raise_exception('no system role') }}", "does not render: no system role"),
    ("{{ strftime_now('%Y') }}{{ messages[0].content }}", "does not render"),
    ("{{ ''.__class__.__mro__ }}{{ messages[0].content }}", "does not render"),
    (7, "no chat template"),
    (None, "no chat template"),
])
def test_templates_that_are_refused(folder, template, says):
    with pytest.raises(ExportError, match=says):
        use(folder, template)


@pytest.mark.parametrize(("template", "says"), [
    ("{{ 1 / 0 }}{{ messages[0].content }}", "does not render: division by zero"),
    ("{% for i in range(10 ** 9) %}x{% endfor %}", "does not render: Range too big"),
    ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
     "does not render: it takes too long, or too much memory"),
    ("{{ 9 ** (9 ** 9) }}", "does not render: it takes too long"),
    ("{{ 'x' * 10 ** 11 }}", "does not render: MemoryError"),
    ("{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}", "writes more than 1048576"),
    ("{{ 'x' * 300000 }}{{ messages[0].content }}", "writes 300000 characters around the prompt"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "does not render: maximum recursion"),
    ("{{ (" * 2000 + ") }}" * 2000, "does not render"),
    ("{{ messages.nothing.at.all }}", "does not render: .* has no attribute"),
    ("{{ messages[0].content }}\ud800", "half a character"),
    (["a", "b"], "expected a template, or objects with name and template"),
    ([{"name": "default"}], "no chat template"), ({"default": 1}, "no chat template"),
])
def test_a_hostile_template_ends_in_a_sentence(folder, monkeypatch, template, says):
    monkeypatch.setattr(chat_template, "COMPUTING_S", 1)
    with pytest.raises(ExportError, match=says) as refusal:
        use(folder, template)
    assert len(str(refusal.value)) < 500 and "\n" not in str(refusal.value)


def test_a_template_that_is_no_utf_8(folder):
    (folder / "chat_template.jinja").write_bytes(b"{{ messages[0].content }}\xff\xfe")
    with pytest.raises(ExportError, match="chat_template.jinja: is no UTF-8 text .* at byte 25"):
        read_tokenizer(folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.jinja").mkdir()
    with pytest.raises(ExportError, match="chat_template.jinja: cannot be read"):
        read_tokenizer(folder)


def test_a_slow_template_that_ends_is_taken(folder):
    loops = "{% for i in range(9999) %}{% set x = i * i %}{% endfor %}"
    assert use(folder, loops + "A{{ messages[0].content }}B").prefix == "A"


def test_the_pad_token(folder):
    assert use(folder, TEMPLATE).pad_token_id == 26
    assert use(folder, TEMPLATE, pad_token={"content": "<|im_end|>"}).pad_token_id == 28
    with pytest.raises(ExportError, match="pad_token is '<none>', expected a token of tokenizer"):
        use(folder, TEMPLATE, pad_token="<none>")


@pytest.mark.parametrize("model", [None, [], {"vocab": {}}, {"vocab": [["a", -1.0]]},
                                   {"vocab": {"a": "0"}}])
def test_files_that_hold_no_vocabulary(folder, model):
    write_json(folder / "tokenizer.json", {"model": model})
    with pytest.raises(ExportError, match="tokenizer.json: "):
        read_tokenizer(folder)


def test_the_manifest_s_part(folder):
    tokenizer = read_tokenizer(folder)
    values = tokenizer.manifest()
    assert values["bytes"] == len(tokenizer.file)
    assert values["sha256"] == hashlib.sha256(tokenizer.file).hexdigest()
    assert values["config"]["eos_token"] == "<|im_end|>"
    assert "chat_template" not in values["config"]
    assert tokenizer.largest_id == 28 and json.dumps(values)


def spelled(folder, vocabulary, merges):
    """The compact model of a tokenizer.json with these."""
    write_json(folder / "tokenizer.json", {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
        "added_tokens": [{"id": 9, "content": "<|endoftext|>"}], "version": "1.0",
    })
    return json.loads(read_tokenizer(folder).file)["model"]


def completed(model):
    """The whole vocabulary, as web/api/tokenizer.js completes it."""
    vocabulary = dict(model["vocab"])
    taken = {*vocabulary.values()}
    free = (index for index in count() if index not in taken)
    for merge in model["merges"]:
        if merge.replace(" ", "") not in vocabulary:
            vocabulary[merge.replace(" ", "")] = next(free)
    return vocabulary


def test_a_tokenizer_of_qwen_s_size_is_small(tmp_path):
    write_large_tokenizer(tmp_path)
    source = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    file = read_tokenizer(tmp_path).file
    model = json.loads(file)["model"]
    assert len(model["vocab"]) == 256 and completed(model) == source["model"]["vocab"]
    assert model["merges"] == [" ".join(pair) for pair in source["model"]["merges"]]
    lines = len("\n".join(model["merges"]).encode())
    print(f"merges {lines:,} bytes, compact {len(file):,}, source {len(json.dumps(source)):,}")
    assert len(model["merges"]) == MERGES and lines >= 1.67e6, "shorter than Qwen's"
    assert len(file) <= 3e6


def test_garden_s_special_tokens_come_first():
    source = json.loads((GARDEN / "tokenizer.json").read_text(encoding="utf-8"))
    file = json.loads(read_tokenizer(GARDEN).file)
    assert len(file["model"]["vocab"]) == 3 + 256
    assert completed(file["model"]) == source["model"]["vocab"]
    for key in ("added_tokens", "normalizer", "pre_tokenizer", "post_processor"):
        assert file[key] == source[key]


@pytest.mark.parametrize(("vocabulary", "merges", "kept"), [
    ({"a": 0, "b": 1, "ab": 2}, ["a b"], 2),
    ({"a": 0, "b": 1, "bb": 2, "ab": 3, "abb": 4},
     ["b b", "a b", "ab b", "a bb"], 2),  # two ways to one token
    ({"a": 0, "b": 1, "ab": 2, "<end>": 3}, ["a b"], 3),  # as CLIP's
    ({"a": 0, "b": 1, "ab": 3}, ["a b"], 3),  # the ids are others
    ({"a": 0, "b": 1, "ab": 2, "ba": 3}, ["b a", "a b"], 4),
])
def test_the_vocabulary_that_merges_do_not_tell_is_kept(folder, vocabulary, merges, kept):
    model = spelled(folder, vocabulary, merges)
    assert len(model["vocab"]) == kept and completed(model) == vocabulary


def test_tokens_with_spaces_stay_pairs(folder):
    model = spelled(folder, {" ": 0, "a": 1, " a": 2}, [[" ", "a"]])
    assert model["merges"] == [[" ", "a"]] and model["vocab"] == {" ": 0, "a": 1}


@pytest.mark.parametrize(("merges", "says"), [
    (["a c"], "a merge makes 'ac', expected a token of model.vocab"),
    (["a b c"], "expected two tokens"),
    ([["a"]], "expected two tokens"),
    ("a b", "model.merges is not a list"),
])
def test_merges_that_are_refused(folder, merges, says):
    with pytest.raises(ExportError, match=says):
        spelled(folder, {"a": 0, "b": 1, "ab": 2}, merges)


def test_half_a_character_is_refused(folder):
    with pytest.raises(ExportError, match="half a character"):
        spelled(folder, {"a": 0, "\ud800": 1}, [])
