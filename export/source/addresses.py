"""What --model may name: a folder, a file, a repository, its address, or its copy in the cache."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from export.errors import ExportError
from export.site.headers import HUB

REPOSITORY = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")
HOSTS = (HUB, f"www.{HUB}", "hf.co")
CACHED = re.compile(r"models--(.+)")
OTHER_REPOSITORIES = ("datasets", "spaces", "kernels")


@dataclass(frozen=True)
class Address:
    """A repository on the hub: a revision of it, and one file there that is the transformer."""

    repository: str
    revision: str | None = None
    file: str | None = None


def read_address(text, option="--model"):
    """The Address that an option names, or None. Raises ExportError for what is no model's."""
    match = REPOSITORY.fullmatch(text)
    if match and match[1].split("/")[1] not in (".", ".."):
        return Address(*match.groups())
    bare = text.strip()
    scheme, colon, rest = bare.partition("://")
    if scheme == "hf" and colon:
        return read_address(rest.strip("/"), option)
    if not colon and bare.split("/")[0] in HOSTS:
        bare = f"https://{bare}"
    parts = urlsplit(bare)
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc
    if parts.scheme not in ("http", "https") or parts.netloc not in (*HOSTS, endpoint or HUB):
        return None
    return read_path([unquote(part) for part in parts.path.split("/") if part], f"{option} {text}")


def read_path(parts, where):
    """ORG, NAME[, tree | blob | resolve, REVISION[, FILE ...]] as an Address."""
    if parts[:1] == ["models"]:
        parts = parts[1:]
    if parts and parts[0] in OTHER_REPOSITORIES:
        raise ExportError(f"{where}: is one of the hub's {parts[0]}, expected a model")
    match = REPOSITORY.fullmatch("/".join(parts[:2]).removesuffix(".git"))
    if len(parts) < 2 or not match or match[2]:
        raise ExportError(f"{where}: expected an address like https://{HUB}/ORG/NAME")
    if len(parts) < 4 or parts[2] not in ("tree", "blob", "resolve", "raw"):
        return Address(match[1])
    length = 3 if parts[3] == "refs" else 1  # refs/pr/1
    revision, file = "/".join(parts[3 : 3 + length]), "/".join(parts[3 + length :])
    return Address(match[1], revision, file if is_weights(file) else None)


def is_weights(name):
    return name.lower().endswith((".safetensors", ".gguf", ".pt"))


def find_snapshot(path):
    """(folder, origin) of what may be a folder of the hub's cache.

    .../models--ORG--NAME/snapshots/COMMIT, or a folder above or inside, is the repository at that
    commit; elsewhere it is the folder itself, and origin is {}. Raises ExportError.
    """
    path, folder = Path(path), Path(path).resolve()
    above = folder.parent if folder.name == "snapshots" else folder
    if CACHED.fullmatch(above.name) and (above / "snapshots").is_dir():
        path = folder = newest_snapshot(above)
    for inner in (folder, *folder.parents):
        match = CACHED.fullmatch(inner.parent.parent.name)
        if match and inner.parent.name == "snapshots":
            repository = "/".join(match[1].split("--"))
            return path, {"repository": repository, "revision": inner.name}
    return path, {}


def newest_snapshot(folder):
    """The snapshot of refs/main, or the only one."""
    snapshots = {path.name: path for path in (folder / "snapshots").iterdir() if path.is_dir()}
    try:
        main = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        main = None
    if main in snapshots:
        return snapshots[main]
    if len(snapshots) == 1:
        return next(iter(snapshots.values()))
    names = ", ".join(sorted(snapshots)) or "nothing"
    raise ExportError(
        f"{folder}: snapshots/ holds {names}, and refs/main names none of them; name the folder of "
        "one snapshot, or download the repository again"
    )
