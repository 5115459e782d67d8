"""What a site follows from, as one digest; and whether its source stayed the same meanwhile."""

import hashlib
import json
import os
from pathlib import Path

from export.errors import ExportError

ROOT = Path(__file__).resolve().parents[2]
CODE = ("export/**/*.py", "web/**/*", "wgsl/**/*", "LICENSE", "THIRD_PARTY.md", "pyproject.toml")
DEPTH = 3  # folders that a checkpoint is deep: text_encoder/tokenizer/tokenizer.json


def fingerprint(source, files, options):
    """A digest of all that a site follows from.

    files: the source's, as `snapshot` has them. options: JSON values.
    """
    sha = hashlib.sha256(json.dumps([source.name, source.origin, source.file, options]).encode())
    for name, (size, time, _) in files.items():
        sha.update(os.fsencode(f"{name} {size} {time}\n"))
    for pattern in CODE:
        for path in sorted(p for p in ROOT.glob(pattern) if p.is_file()):
            if "__pycache__" not in path.parts:
                sha.update(os.fsencode(f"{path.relative_to(ROOT)}\n") + path.read_bytes())
    return sha.hexdigest()


def snapshot(folder, workshops=()):
    """{path: (bytes, mtime, inode)} of a checkpoint's files.

    Hidden ones are left out, and what belongs to the sites of `workshops`, should they lie there.
    """
    folder = Path(os.path.realpath(folder))
    files = {}
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


def skipped(path, workshops):
    return path.name.startswith(".") or any(workshop.owns(path) for workshop in workshops)


def check_unchanged(source, before, workshops):
    """Raises ExportError if a file of the source is no longer what it was. New ones do not matter:

    what came later was not read.
    """
    now = snapshot(source.folder, workshops)
    changed = [name for name in before if before[name] != now.get(name)]
    if changed:
        what = "was changed" if changed[0] in now else "was removed"
        raise ExportError(
            f"{source.folder / changed[0]}: {what} while the model was packed, so nothing was "
            "written; run again when the model's files are complete"
        )
