"""The front matter of a README.md: what a model's card says of it, in a few lines of YAML."""

import json
import re

FRONT_MATTER = re.compile(r"\s*---[ \t]*\n(.*?)(?<=\n)---[ \t]*(?:\n|$)", re.DOTALL)
PAIR = re.compile(r"([\"']?)([A-Za-z_][\w-]*)\1[ \t]*:(?:[ \t]+(.*))?")
ITEM = re.compile(r"[ \t]*-[ \t]+(.*)")
QUOTED = re.compile(r"""\"((?:[^"\\]|\\.)*)\"|'((?:[^']|'')*)'""")
PLAIN = re.compile(r"[A-Za-z][\w./+-]*")
NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "null")  # of plain YAML


def read_front_matter(card):
    """{key: text, or list of texts} of the top level of a README.md's front matter.

    A few lines of YAML, as the hub's cards have them: scalars, quoted or not, and lists; what is
    nested deeper is passed over.
    """
    try:
        text = card.read_text(encoding="utf-8-sig", errors="replace") if card else ""
    except OSError:
        return {}
    match = FRONT_MATTER.match(text)
    values, key = {}, None
    for line in match[1].splitlines() if match else ():
        pair, item = PAIR.fullmatch(line), ITEM.fullmatch(line)
        if pair:
            key = pair[2]
            values[key] = scalar(pair[3] or "")
        elif item and key and isinstance(values[key] or [], list):
            values[key] = [*(values[key] or []), scalar(item[1])]
        elif line[:1].isspace() and values.get(key) in (">", ">-", "|", "|-"):
            values[key] = line.strip()
    return values


def scalar(text):
    """A YAML scalar or list in one line: "x", 'x', x # remark, [x, y]."""
    text = text.strip()
    if text.startswith("["):
        inner = text[1:].split("]")[0]
        return [value for value in map(scalar, inner.split(",")) if value]
    quoted = QUOTED.match(text)
    if quoted:
        return quoted[1] if quoted[1] is not None else quoted[2].replace("''", "'")
    text = re.split(r"(?:^|\s)#", text)[0].strip()
    return "" if text in ("~", "null") else text


def yaml(value):
    """A text or a list of texts as YAML: plain where that will do, else JSON, which is YAML too."""
    if isinstance(value, list):
        return f"[{', '.join(map(yaml, value))}]"
    plain = PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT
    return value if plain else json.dumps(value, ensure_ascii=False)
