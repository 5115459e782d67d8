"""JSON in and out: typed look-ups whose errors name the file and the key, and what the page gets.

JSON has no NaN and no Infinity, though Python and the libraries that write checkpoints have: where
a file holds one (or a number that overflows to one) it is read as NonFinite, which no look-up
takes for a number and dump_json does not write.
"""

import json
import math
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, Self

from export.errors import ExportError
from export.source.standins import refuse_standin

REQUIRED = object()
MOST = 1 << 24  # no size in a configuration is larger; keeps a damaged one from filling the memory
MOST_NUMBER = 1e30  # the kernels compute in float32, and a square must fit as well


class NonFinite:
    """A number that JSON cannot hold; `text` as the file spells it."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text if len(self.text) <= 40 else self.text[:37] + "..."


class Shown(reprlib.Repr):
    """repr for messages: one line of bounded length, whatever the value."""

    def __init__(self):
        super().__init__()
        self.maxlevel, self.maxdict = 4, 8
        self.maxlist = self.maxtuple = 12
        self.maxstring, self.maxlong, self.maxother = 200, 40, 80


show = Shown().repr


def parse_json(text: str) -> Any:
    """json.loads with NonFinite for what is no number of JSON. Raises ValueError."""

    def number(word):
        value = float(word)
        return value if math.isfinite(value) else NonFinite(word)

    try:
        return json.loads(text, parse_constant=NonFinite, parse_float=number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ExportError when it is missing or is no JSON object."""
    path = Path(path)
    refuse_standin(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = parse_json(text)
    except FileNotFoundError:
        raise ExportError(f"{path}: no such file; is this a complete model folder?") from None
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ExportError(f"{path}: not valid JSON ({error}); download the file again") from None
    try:
        if has_surrogates(text):
            json.dumps(values, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError:
        raise ExportError(
            f"{path}: half a character is escaped there (\\ud800 to \\udfff, without its other "
            "half), which no page can show; write the whole character"
        ) from None
    if not isinstance(values, dict):
        raise ExportError(f"{path}: got a JSON {type(values).__name__}, expected an object")
    return values


def has_surrogates(text):
    """Whether JSON may hold an escaped half of a character; in pairs, they are one."""
    return re.search(r"\\u[dD][89a-fA-F]", text) is not None


def dump_json(values: Any, where: str, **style: Any) -> str:
    """The text of `values` as strict JSON, the only way that JSON reaches the site.

    `where` names the values in the ExportError for what JSON or UTF-8 cannot hold; style: as
    json.dumps takes it, characters beyond ASCII unescaped.
    """
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, default=refuse, **style)
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ExportError(f"{where}: holds half a character (a lone surrogate)") from None
    except (ValueError, TypeError) as error:
        raise ExportError(f"{where}: holds what JSON cannot ({error})") from None
    except RecursionError:
        raise ExportError(f"{where}: is nested too deeply") from None
    return text


def refuse(value):
    raise TypeError(f"the value {show(value)}")


class Configuration:
    """The values of one configuration file; null means absent.

    `asked` are the keys that somebody has read: export/source/meaning.py refuses the others, unless
    they are known to be harmless.
    """

    def __init__(self, path: str | Path, values: dict[str, Any]) -> None:
        self.path = Path(path)
        self.values = values
        self.asked: set[str] = set()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        return cls(path, read_json(path))

    @classmethod
    def read_optional(cls, path: str | Path) -> Self:
        """As read, but a missing file has no keys."""
        return cls.read(path) if Path(path).exists() else cls(path, {})

    def fail(self, message: str) -> NoReturn:
        raise ExportError(f"{self.path}: {message}")

    def get(self, key: str, default: Any = REQUIRED) -> Any:
        self.asked.add(key)
        value = self.values.get(key)
        if value is not None:
            return value
        if default is REQUIRED:
            self.fail(f"{key} is missing")
        return default

    def integer(self, key: str, default: Any = REQUIRED, least: int = 1, most: int = MOST) -> Any:
        value = self.get(key, default)
        if value is default:
            return value
        if not is_whole(value) or not least <= value <= most:
            self.fail(f"{key} is {show(value)}, expected a whole number from {least} to {most}")
        return int(value)

    def integers(self, key: str, default: Any = REQUIRED, least: int = 1) -> Any:
        """A non-empty tuple of whole numbers."""
        value = self.get(key, default)
        if value is default:
            return value
        good = isinstance(value, list) and value
        if not good or not all(is_whole(v) and least <= v <= MOST for v in value):
            self.fail(f"{key} is {show(value)}, expected a list of whole numbers from {least} on")
        return tuple(int(v) for v in value)

    def number(self, key: str, default: Any = REQUIRED, least: float = 1e-30,
               most: float = MOST_NUMBER) -> Any:
        """A finite number, above zero by default."""
        value = self.get(key, default)
        if value is default:
            return value
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or not least <= value <= most:
            what = "above zero" if least > 0 else f"from {least:g} on"
            self.fail(f"{key} is {show(value)}, expected a number {what}, up to {most:g}")
        return value

    def flag(self, key: str, default: bool | None) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            self.fail(f"{key} is {show(value)}, expected true or false")
        return value

    def only(self, key: str, allowed: Iterable[Any], default: Any) -> Any:
        """Refuses a value other than the ones that the runtime implements."""
        value = self.get(key, default)
        if not any(is_same(value, choice) for choice in allowed):
            choices = " or ".join(repr(choice) for choice in allowed)
            self.fail(f"{key} is {show(value)}, and this version draws only with {choices}")
        return value


def is_text(value: Any) -> bool:
    """Text that UTF-8 can hold: JSON can also spell halves of surrogate pairs."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode("utf-8") == value


def is_same(value: Any, choice: Any) -> bool:
    """Equal, but 0 and 1 are not false and true, nor the reverse."""
    return value == choice and isinstance(value, bool) == isinstance(choice, bool)


def is_whole(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
