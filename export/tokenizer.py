"""The tokenizer: tokenizer.json becomes compact, the chat template two strings.

Of tokenizer.json the page gets what it encodes with. Tokens that follow from the merges are left
out of the vocabulary, web/models/tokenizer.js puts them back: a merge's token that is missing has
the next id.

The template is rendered once, here, around a sentinel prompt, as diffusers calls it
(add_generation_prompt=True, enable_thinking=False); the browser then only concatenates.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from export.configuration import Configuration
from export.errors import ExportError

SENTINELS = ("TREFOIL-PROMPT", " two\nlines, spaces around ", "<b>&\"'")
CONFIG_KEYS = (
    "tokenizer_class", "model_max_length", "add_prefix_space", "add_bos_token", "add_eos_token",
    "clean_up_tokenization_spaces", "split_special_tokens", "errors",
    "bos_token", "eos_token", "pad_token", "unk_token",
)  # fmt: skip
ENCODING_KEYS = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor")
SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class Tokenizer:
    file: bytes  # tokenizer.json, compact
    config: dict
    prefix: str
    suffix: str
    pad_token_id: int
    largest_id: int
    folder: Path  # at the source

    def manifest(self):
        return {
            "file": "tokenizer.json", "bytes": len(self.file),
            "sha256": hashlib.sha256(self.file).hexdigest(), "config": self.config,
            "prefix": self.prefix, "suffix": self.suffix, "pad_token_id": self.pad_token_id,
        }  # fmt: skip


def read_tokenizer(folder):
    """The tokenizer of a checkpoint's tokenizer/ folder."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ExportError(
            f"{path}: no such file; the model needs a fast tokenizer (tokenizer/tokenizer.json)"
        )
    tokenizer = Configuration.read(path)
    config = Configuration.read_optional(folder / "tokenizer_config.json")
    ids = token_ids(tokenizer)
    config_values = {key: plain(config.values[key]) for key in CONFIG_KEYS if key in config.values}
    special = {key: config_values[key] for key in SPECIAL_TOKENS if config_values.get(key)}
    pad_token = special.get("pad_token")
    if pad_token not in ids:
        config.fail(f"pad_token is {pad_token!r}, expected a token of {path.name}")
    prefix, suffix = split_template(*read_template(folder, config), special)
    return Tokenizer(
        compact(tokenizer), config_values, prefix, suffix, ids[pad_token], max(ids.values()), folder
    )


def plain(value):
    """A token is a string, or an object with its string under `content`."""
    return value.get("content") if isinstance(value, dict) else value


def token_ids(tokenizer):
    """token -> id over the vocabulary and the added tokens."""
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict) or not vocabulary:
        tokenizer.fail("model.vocab is missing or is not token -> id, expected a BPE tokenizer")
    ids = dict(vocabulary)
    for token in tokenizer.get("added_tokens", []):
        if not isinstance(token, dict) or not {"id", "content"} <= token.keys():
            tokenizer.fail(f"added token {token!r} lacks id or content")
        ids[token["content"]] = token["id"]
    if not all(type(index) is int and index >= 0 for index in ids.values()):
        tokenizer.fail("a token id is not a whole number")
    return ids


def compact(tokenizer):
    """The bytes of tokenizer.json, as the site has it."""
    model = tokenizer.get("model")
    pairs = read_merges(tokenizer, model)
    short = all(" " not in token for pair in pairs for token in pair)
    kept = {key: tokenizer.get(key, None) for key in ENCODING_KEYS}
    kept |= {"decoder": None, "added_tokens": kept["added_tokens"] or []}
    kept["model"] = model | {
        "vocab": shorten_vocabulary(tokenizer, model["vocab"], pairs),
        "merges": [" ".join(pair) for pair in pairs] if short else pairs,
    }
    try:
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        tokenizer.fail(f"holds half a character: {error}")


def read_merges(tokenizer, model):
    """[[left, right], ...]; older files have "left right"."""
    merges = model.get("merges", [])
    if not isinstance(merges, list):
        tokenizer.fail("model.merges is not a list, expected a BPE tokenizer")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    for pair in pairs:
        if not isinstance(pair, list) or [type(token) for token in pair] != [str, str]:
            tokenizer.fail(f"model.merges holds {pair!r}, expected two tokens")
    return pairs


def shorten_vocabulary(tokenizer, vocabulary, pairs):
    """token -> id without the tokens that follow from the merges; all, where ids do not agree."""
    made = dict.fromkeys(left + right for left, right in pairs)
    unknown = next((token for token in made if token not in vocabulary), None)
    if unknown is not None:
        tokenizer.fail(f"a merge makes {unknown!r}, expected a token of model.vocab")
    rest = {token: index for token, index in vocabulary.items() if token not in made}
    following = {token: index for index, token in enumerate(made, len(rest))}
    return rest if rest | following == vocabulary else vocabulary


def read_template(folder, config):
    """(where, template): chat_template.jinja, else the chat_template key, as transformers does."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return path, path.read_text(encoding="utf-8")
    template = config.get("chat_template", None)
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    if not isinstance(template, str):
        config.fail(
            "no chat template: chat_template.jinja is missing beside it and the chat_template key "
            "holds none; FLUX.2 Klein prompts go through one"
        )
    return config.path, template


class GenerationBlocks(Extension):
    """{% generation %} only marks the assistant's words in transformers: it renders its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def template_environment():
    """Jinja2 as transformers sets it up, without the clock: a build does not depend on the date."""

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
            sort_keys=sort_keys,
        )  # fmt: skip

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationBlocks, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment


def split_template(path, template, special):
    """Prefix and suffix of the prompt. Raises ExportError when the template alters the prompt."""
    try:
        compiled = template_environment().from_string(template)
        rendered = [
            compiled.render(
                messages=[{"role": "user", "content": sentinel}],
                tools=None,
                documents=None,
                add_generation_prompt=True,
                enable_thinking=False,
                **special,
            )
            for sentinel in SENTINELS
        ]
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, RecursionError) as error:
        raise ExportError(f"{path}: the chat template does not render: {error}") from None
    parts = rendered[0].split(SENTINELS[0])
    if len(parts) != 2:
        raise ExportError(
            f"{path}: the chat template holds the prompt {len(parts) - 1} times, expected once"
        )
    prefix, suffix = parts
    for sentinel, text in zip(SENTINELS, rendered, strict=True):
        if text != prefix + sentinel + suffix:
            raise ExportError(
                f"{path}: the chat template changes the prompt {sentinel!r} itself, expected it "
                "unchanged between a fixed beginning and a fixed end"
            )
    return prefix, suffix
