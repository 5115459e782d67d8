"""The chat template becomes a prefix and a suffix, exactly as transformers renders it."""

import json

import pytest

from export.errors import ExportError
from export.tokenizer import read_tokenizer
from tests.export.tiny import TEMPLATE, write_json, write_tokenizer

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
])  # fmt: skip
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
])  # fmt: skip
def test_templates_that_are_refused(folder, template, says):
    with pytest.raises(ExportError, match=says):
        use(folder, template)


def test_the_pad_token(folder):
    assert use(folder, TEMPLATE).pad_token_id == 26
    assert use(folder, TEMPLATE, pad_token={"content": "<|im_end|>"}).pad_token_id == 28
    with pytest.raises(ExportError, match="pad_token is '<none>', expected a token of tokenizer"):
        use(folder, TEMPLATE, pad_token="<none>")


@pytest.mark.parametrize("model", [None, [], {"vocab": {}}, {"vocab": [["a", -1.0]]},
                                   {"vocab": {"a": "0"}}])  # fmt: skip
def test_files_that_hold_no_vocabulary(folder, model):
    write_json(folder / "tokenizer.json", {"model": model})
    with pytest.raises(ExportError, match="tokenizer.json: "):
        read_tokenizer(folder)


def test_the_manifest_s_part(folder):
    tokenizer = read_tokenizer(folder)
    values = tokenizer.manifest()
    assert values["bytes"] == (folder / "tokenizer.json").stat().st_size
    assert values["config"]["eos_token"] == "<|im_end|>"
    assert "chat_template" not in values["config"]
    assert tokenizer.largest_id == 28 and json.dumps(values)
