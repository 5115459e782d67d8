"""What a site follows from, as one digest; and whether its source stayed the same meanwhile."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.folder.places import Workshop

ROOT = Path(__file__).resolve().parents[2]
CODE = ("export/**/*.py", "web/**/*", "wgsl/**/*", "LICENSE", "THIRD_PARTY.md", "pyproject.toml")
Snapshot = dict[str, tuple[int, int, int]]
BASE = "../base/"  # before the paths of a base's files
DEPTH = 3  # folders that a checkpoint is deep: text_encoder/tokenizer/tokenizer.json


def fingerprint(source: Any, files: Snapshot, options: dict[str, Any]) -> str:
    """A digest of all that a site follows from.

    files: the source's, as `look_at` has them. options: JSON values.
    """
    told = [source.name, source.origin, source.file, source.base and source.base.origin, options]
    sha = hashlib.sha256(json.dumps(told).encode())
    for name, (size, time, _) in files.items():
        sha.update(os.fsencode(f"{name} {size} {time}\n"))
    for pattern in CODE:
        for path in sorted(p for p in ROOT.glob(pattern) if p.is_file()):
            if "__pycache__" not in path.parts:
                sha.update(os.fsencode(f"{path.relative_to(ROOT)}\n") + path.read_bytes())
    return sha.hexdigest()


def look_at(source: Any, workshops: Iterable[Workshop] = ()) -> Snapshot:
    """The snapshot of a source, and of its base, whose paths begin with BASE."""
    files = snapshot(source.folder, workshops)
    if source.base:
        files |= {BASE + name: told for name, told in
                  snapshot(source.base.folder, workshops).items()}
    return files


def snapshot(folder: str | Path, workshops: Iterable[Workshop] = ()) -> Snapshot:
    """{path: (bytes, mtime, inode)} of a checkpoint's files.

    Hidden ones are left out, and what belongs to the sites of `workshops`, should they lie there.
    """
    folder = Path(os.path.realpath(folder))
    files: Snapshot = {}
    for at, folders, names in os.walk(folder, followlinks=True):
        here = Path(at)
        deeper = len(here.relative_to(folder).parts) < DEPTH
        folders[:] = sorted(f for f in folders if deeper and not skipped(here / f, workshops))
        for name in sorted(names):
            path = here / name
            if not skipped(path, workshops) and path.is_file():
                stat = path.stat()
                key = path.relative_to(folder).as_posix()
                files[key] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return files


def skipped(path: Path, workshops: Iterable[Workshop]) -> bool:
    return path.name.startswith(".") or any(workshop.owns(path) for workshop in workshops)


def check_unchanged(source, before, workshops):
    """Raises ExportError if a file of the source is no longer what it was. New ones do not matter:

    what came later was not read.
    """
    now = look_at(source, workshops)
    changed = [name for name in before if before[name] != now.get(name)]
    if changed:
        what = "was changed" if changed[0] in now else "was removed"
        home = source.base if changed[0].startswith(BASE) else source
        path = home.folder / changed[0].removeprefix(BASE)
        raise ExportError(
            f"{path}: {what} while the model was packed, so nothing was written; run again when "
            "the model's files are complete"
        )
