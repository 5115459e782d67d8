"""The prompts: one a line, the only thing that the student learns from besides its teacher."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError


@dataclass(frozen=True)
class Prompts:
    """All prompts; the last `held_out` of them are never trained on."""

    texts: tuple[str, ...]
    held_out: int

    @property
    def trained(self):
        return len(self.texts) - self.held_out

    @property
    def digest(self):
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()


def read_prompts(path, held_out):
    """The distinct non-empty lines of a UTF-8 file. Raises ExportError when they are too few."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ExportError(f"--prompts {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ExportError(f"--prompts {path}: is not UTF-8 text ({error.reason})") from None
    texts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not texts:
        raise ExportError(f"--prompts {path}: holds no prompt, expected one a line")
    if len(texts) < 2 * held_out:
        raise ExportError(
            f"--prompts {path}: holds {len(texts)} different prompts, expected at least "
            f"{2 * held_out} for --held-out {held_out}; add prompts, or hold out fewer"
        )
    return Prompts(texts, held_out)
