"""Recognises a site that is already what a run would write, and which of its files we wrote.

The record lies beside the site and is no part of it, which is the same bytes on any machine. It
holds the fingerprint of what the site follows from, and for each file that was written
[bytes, mtime, ctime, sha256]. A file whose first three are the same is not read again, so that the
look at 2.7 GB is one at 50 entries of a folder; one whose times differ is hashed, so that a flipped
byte is found and a copied or touched site is not built again. A shard's hash is its name, by which
the writer checked it: it is not computed twice.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from export.folder.places import Workshop
from export.packing.manifest import has_format, is_ours

SHARD = re.compile(r"(?:.*/)?([0-9a-f]{64})\.bin")
FIXED = ("README.md", "_headers", ".nojekyll", "LICENSE", "THIRD_PARTY.md", "index.html",
         "bench.html", "trefoil.js", "start.js", "sw.js", "shell.js", "thumbnail.jpg",
         "studio/thumbnail.jpg", "config.json", "manifest.json", "tokenizer.json",
         "model/manifest.json", "model/tokenizer.json")
CODE = re.compile(r"code-[0-9a-f]{16}/.*")
SHELL = "self.SHELL = "
LICENCE = re.compile(r"(model/|onnx/)?(LICEN[SC]E|NOTICE)[^/]*")
MANIFESTS = ("model/manifest.json", "manifest.json")
Told = dict[str, list]  # path -> [bytes, mtime, ctime, sha256]
UNKNOWN = [0, 0, 0, None]


def is_current(workshops: Iterable[Workshop], digest: str) -> bool:
    """Whether each of these folders is whole and what a run with this fingerprint wrote."""
    for workshop in workshops:
        record = read(workshop)
        if record["fingerprint"] != digest or not record["files"]:
            return False
        if not all(is_same(workshop.out / name, told) for name, told in record["files"].items()):
            return False
    return True


def write(workshop: Workshop, digest: str, names: Iterable[str] | None = None) -> None:
    """Records what was written, or what the record names: last, so that a run that is killed

    leaves no record that fits.
    """
    names = read(workshop)["files"] if names is None else names
    save(workshop, digest, {name: describe(workshop.out / name) for name in sorted(names)})


def announce(workshop: Workshop, names: Iterable[str]) -> None:
    """Before a folder is changed: it is no known site now, and these files too are ours."""
    files = dict.fromkeys(names, UNKNOWN) | written(workshop)
    save(workshop, None, dict(sorted(files.items())))


def refresh(workshop: Workshop, digest: str) -> None:
    """Takes over the times of files that were touched, so that they are not hashed each time."""
    files = read(workshop)["files"]
    now = {name: [*stamp(workshop.out / name), told[3]] for name, told in files.items()}
    if now != files:
        with contextlib.suppress(OSError):
            save(workshop, digest, now)


def written(workshop: Workshop) -> Told:
    """{path: [bytes, mtime, ctime, sha256]} of what earlier builds wrote there, as far as known.

    Where there is no record, a moved site's say, the site tells of most of its files itself.
    """
    found = recognise(workshop.out)
    return {name: [0, 0, 0, digest] for name, digest in found.items()} | read(workshop)["files"]


def recognise(out: Path) -> dict[str, str | None]:
    """{path: sha256 or None} from the site alone: its manifest, its shell's list, and names that

    it always has. Of a folder without our manifest: nothing.
    """
    if not is_ours(out):
        return {}
    there, found = files(out), dict[str, str | None]()
    for name in there:
        shard = SHARD.fullmatch(name)
        if shard and name.count("/") <= 1:
            found[name] = shard[1]
        elif name in FIXED or LICENCE.fullmatch(name) or CODE.fullmatch(name):
            found[name] = None
    if has_format(out / "onnx" / "trefoil.json"):
        found |= dict.fromkeys(name for name in there if name.startswith("onnx/"))
    return found | dict.fromkeys(name for name in shell_files(out) if name in there)


def shell_files(out: Path) -> list[str]:
    """Paths in the list of what the service worker keeps."""
    for script in ("sw.js", "shell.js"):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            text = (out / script).read_text(encoding="utf-8")
            at = text.index(SHELL) + len(SHELL)
            return list(json.JSONDecoder().raw_decode(text, at)[0]["files"])
    return []


def read(workshop: Workshop) -> dict[str, Any]:
    """The record, {"fingerprint", "files"}; empty where there is none."""
    for path in (workshop.path("built"), workshop.elsewhere("built")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError,
                                 RecursionError):
            record = json.loads(path.read_text(encoding="utf-8"))
            told = {name: as_told(value) for name, value in record["files"].items()}
            return {"fingerprint": record["fingerprint"], "files": told}
    return {"fingerprint": None, "files": {}}


def as_told(value: Any) -> list:
    """A file's entry; records once held its bytes alone."""
    return value if isinstance(value, list) and len(value) == 4 else [value, 0, 0, None]


def save(workshop: Workshop, digest: str | None, told: Told) -> None:
    path, partial = workshop.path("built"), workshop.path("built.partial")
    text = json.dumps({"fingerprint": digest, "files": told}, sort_keys=True)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
    with contextlib.suppress(OSError):
        workshop.elsewhere("built").unlink(missing_ok=True)


def describe(path: Path) -> list:
    shard = SHARD.fullmatch(path.name)
    return [*stamp(path), shard[1] if shard else sha256(path)]


def stamp(path: Path) -> list[int]:
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def is_same(path: Path, told: list) -> bool:
    """Whether a file is there with the bytes that were written."""
    size, _, _, digest = told
    try:
        now = stamp(path)
        if now == told[:3]:
            return True
        return digest is not None and size in (0, now[0]) and sha256(path) == digest
    except OSError:
        return False


def sha256(path: Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(folder: str | Path) -> dict[str, int]:
    """{path: bytes} of all files below a folder, what building it needs apart. Links count as

    what they lead to, but are not gone into.
    """
    found: dict[str, int] = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(Workshop.INSIDE) and path.is_file():
            found[name] = path.stat().st_size
    return found
