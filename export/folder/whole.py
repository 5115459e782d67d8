"""Whether a written site is whole, before it takes its place.

Sizes, not hashes: a shard was hashed while it was written, into a folder of a name that no other
run has; what can be amiss is a file that somebody removed or a disk that lost its end.
"""

import json
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.folder import record


def check(folder: Path) -> None:
    """Raises ExportError if a file that the manifest or the shell lists is not there in full.

    folder: a site, the weights of one, or an ONNX bundle alone, which has no list.
    """
    for name in record.MANIFESTS:
        if (folder / name).exists():
            manifest = json.loads((folder / name).read_text(encoding="utf-8"))
            check_shards((folder / name).parent, manifest)
    for name in record.shell_files(folder):
        if not (folder / name).is_file():
            raise incomplete(name, "is not there", "it, as the service worker lists it")


def check_shards(folder: Path, manifest: dict[str, Any]) -> None:
    """The ONNX graphs lie with the site; the shards may lie elsewhere."""
    shards = [] if "weights_url" in manifest else manifest["shards"]
    for shard in [*shards, *manifest.get("onnx", {"shards": []})["shards"]]:
        path = folder / shard.get("path", shard["file"])
        found = path.stat().st_size if path.is_file() else None
        if found is None:
            raise incomplete(path.name, "is not there", f"{shard['bytes']:,} bytes")
        if found != shard["bytes"]:
            raise incomplete(path.name, f"has {found:,} bytes", f"{shard['bytes']:,}")


def incomplete(name: str, got: str, expected: str) -> ExportError:
    return ExportError(
        f"{name}: {got}, expected {expected}; another program changed the unfinished "
        "site, so it was not put in place; run again"
    )
