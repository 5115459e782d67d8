"""The chat template: rendered once, here, around a sentinel prompt, as diffusers calls it

(add_generation_prompt=True, enable_thinking=False); the browser then only concatenates prefix,
prompt and suffix. A template is a program of whoever made the checkpoint, so a process of its own
renders it (export/prompts/render_template.py), with an end to its time and memory.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path

from export.errors import ExportError
from export.source.configuration import is_text, show

SENTINELS = ("TREFOIL-PROMPT", " two\nlines, spaces around ", "<b>&\"'")
COMPUTING_S = 5  # after which the process ends itself
PATIENCE_S = 120  # of a wall clock
MOST_CHARACTERS = 1 << 18  # around the prompt
RENDERER = Path(__file__).with_name("render_template.py")


def read_template(folder, config):
    """(where, template): chat_template.jinja, else the chat_template key, as transformers does."""
    path = folder / "chat_template.jinja"
    if path.exists():
        try:
            return path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ExportError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start}); "
                              "download the file again") from None
        except OSError as error:
            raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    template = config.get("chat_template", None)
    if isinstance(template, list):
        if not all(isinstance(entry, dict) for entry in template):
            config.fail(f"chat_template is {show(template)}, expected a template, or objects with "
                        "name and template")
        named = [e.get("template") for e in template if e.get("name") == "default"]
        template = named[-1] if named else None
    if not isinstance(template, str):
        config.fail(
            "no chat template: chat_template.jinja is missing beside it and the chat_template key "
            "holds none; FLUX.2 Klein prompts go through one"
        )
    return config.path, template


def split_template(path, template, special):
    """Prefix and suffix of the prompt. Raises ExportError when the template alters the prompt.

    special: name -> token, as transformers hands them to the template.
    """
    try:
        rendered = render(template, tuple(sorted(special.items())))
    except ValueError as error:
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
    if not is_text(prefix + suffix):
        raise ExportError(f"{path}: the chat template writes half a character (a lone surrogate)")
    if len(prefix) + len(suffix) > MOST_CHARACTERS:
        raise ExportError(
            f"{path}: the chat template writes {len(prefix) + len(suffix)} characters around the "
            f"prompt, expected at most {MOST_CHARACTERS}"
        )
    return prefix, suffix


@functools.cache
def render(template, special):
    """The texts that the template makes of the SENTINELS. Raises ValueError with the reason."""
    request = {"template": template, "special": dict(special), "prompts": SENTINELS}
    try:
        done = subprocess.run(
            [sys.executable, "-P", RENDERER, str(COMPUTING_S)],
            input=json.dumps(request).encode(),
            capture_output=True, timeout=PATIENCE_S, check=False,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except subprocess.TimeoutExpired:
        answer = {}
    if "texts" in answer:
        return answer["texts"]
    raise ValueError(answer.get("error") or "it takes too long, or too much memory")
