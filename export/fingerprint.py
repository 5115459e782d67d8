"""Recognises that a site is already what a run would write: its record lies beside the site.

The record holds what the site follows from (the source's files by size and time, the options, the
code) and what was written. It is no part of the site, which is the same bytes on any machine.
"""

import hashlib
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("export/**/*.py", "web/**/*", "wgsl/*", "LICENSE", "THIRD_PARTY.md", "pyproject.toml")


def fingerprint(source, options):
    """A digest of all that a site follows from. options: JSON values."""
    sha = hashlib.sha256(json.dumps([source.name, source.origin, options]).encode())
    for path in listing(source.folder):
        name, stat = path.relative_to(source.folder), path.stat()
        sha.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    for pattern in CODE:
        for path in sorted(p for p in ROOT.glob(pattern) if p.is_file()):
            if "__pycache__" not in path.parts:
                sha.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return sha.hexdigest()


def is_current(out, digest, beside=()):
    """Whether `out` is the whole site that a run with this fingerprint wrote; likewise the
    folders `beside` it."""
    try:
        record = json.loads(record_path(out).read_text(encoding="utf-8"))
        return record == state(out, digest, beside)
    except (OSError, ValueError):
        return False


def record(out, digest, beside=()):
    """Written last, so that an interrupted run leaves none that fits."""
    text = json.dumps(state(out, digest, beside), sort_keys=True)
    record_path(out).write_text(text + "\n", encoding="utf-8")


def record_path(out):
    out = Path(out).resolve()
    return out.with_name(f".{out.name}.built")


def state(out, digest, beside):
    return {"fingerprint": digest, "files": sizes(out)} | {
        "beside": {folder.name: sizes(folder) for folder in beside}
    }


def sizes(out):
    """{path: bytes} of all files below a folder."""
    return {path.relative_to(out).as_posix(): path.stat().st_size for path in listing(out)}


def listing(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())
