"""What a checkpoint lacks of its parts, and what lies there instead."""

from fnmatch import fnmatchcase
from pathlib import Path

from export import layouts
from export.errors import ExportError, shorten
from export.families.family import ENCODER
from export.source.weights import LORAS, PART, tell_others


def patterns_of(part):
    return [pattern for layout in part.layouts for pattern in layouts.patterns(layout, part.folder)]


def require(listing, name):
    if name not in listing.names:
        folder, _, _ = name.rpartition("/")
        place = f"{folder}/" if folder else "the folder"
        raise ExportError(
            f"{listing.at(name)}: no such file, {place} {listing.tell(folder)}; is this a complete "
            "model folder?"
        )


def refuse_none(listing, part):
    """Says what is there instead of a part."""
    patterns, what = patterns_of(part), part.folder.replace("_", " ")
    expected = list(dict.fromkeys(p.split("/")[0] + "/" if "/" in p else p for p in patterns))
    there = [folder for folder in listing.folders() if any(
        fnmatchcase(folder, pattern) for pattern in expected)]
    told = "; ".join(
        f"{folder} {tell_others(listing, folder[:-1]) or listing.tell(folder[:-1])}"
        for folder in there
    ) or "it " + (tell_others(listing, "", (LORAS,)) or listing.tell(""))
    encoders = [n for n in listing.inside("") if n.endswith(".gguf") and PART.search(Path(n).stem)]
    if encoders and part.kind == ENCODER:
        told += f"; a text encoder in GGUF ({shorten(encoders)}) is not read"
    raise ExportError(
        f"{listing.where}: no {what}, expected the folder {' or '.join(expected)} with its "
        f"weights; {told}"
    )
