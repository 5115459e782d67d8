"""JSON configuration files: typed look-ups whose errors name the file and the key."""

import json
import math
import re
from pathlib import Path

from export.errors import ExportError
from export.standins import refuse_standin

REQUIRED = object()
MOST = 1 << 24  # no size in a configuration is larger; keeps a damaged one from filling the memory


def read_json(path):
    """The object in a JSON file. Raises ExportError when it is missing or is no JSON object."""
    path = Path(path)
    refuse_standin(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text)
    except FileNotFoundError:
        raise ExportError(f"{path}: no such file; is this a complete model folder?") from None
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path}: not valid JSON ({error}); download the file again") from None
    try:
        if has_surrogates(text):
            json.dumps(values, ensure_ascii=False).encode()
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


class Configuration:
    """The values of one configuration file. Unknown keys are ignored; null means absent."""

    def __init__(self, path, values):
        self.path = Path(path)
        self.values = values

    @classmethod
    def read(cls, path):
        return cls(path, read_json(path))

    @classmethod
    def read_optional(cls, path):
        """As read, but a missing file has no keys."""
        return cls.read(path) if Path(path).exists() else cls(path, {})

    def fail(self, message):
        raise ExportError(f"{self.path}: {message}")

    def get(self, key, default=REQUIRED):
        value = self.values.get(key)
        if value is not None:
            return value
        if default is REQUIRED:
            self.fail(f"{key} is missing")
        return default

    def integer(self, key, default=REQUIRED, least=1, most=MOST):
        value = self.get(key, default)
        if value is default:
            return value
        if not is_whole(value) or not least <= value <= most:
            self.fail(f"{key} is {value!r}, expected a whole number from {least} to {most}")
        return int(value)

    def integers(self, key, default=REQUIRED, least=1):
        """A non-empty tuple of whole numbers."""
        value = self.get(key, default)
        if value is default:
            return value
        good = isinstance(value, list) and value
        if not good or not all(is_whole(v) and least <= v <= MOST for v in value):
            self.fail(f"{key} is {value!r}, expected a list of whole numbers from {least} on")
        return tuple(int(v) for v in value)

    def number(self, key, default=REQUIRED):
        """A finite number above zero."""
        value = self.get(key, default)
        if value is default:
            return value
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or not 0 < value < math.inf:
            self.fail(f"{key} is {value!r}, expected a number above zero")
        return value

    def flag(self, key, default):
        value = self.get(key, default)
        if not isinstance(value, bool):
            self.fail(f"{key} is {value!r}, expected true or false")
        return value

    def only(self, key, allowed, default):
        """Refuses a value other than the ones that the runtime implements."""
        value = self.get(key, default)
        if value not in allowed:
            choices = " or ".join(repr(choice) for choice in allowed)
            self.fail(f"{key} is {value!r}, and this version draws only with {choices}")
        return value


def is_whole(value):
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
