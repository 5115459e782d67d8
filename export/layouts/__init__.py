"""How published checkpoints lay out their tensors: a layout is a file and a line here.

A layout class has a `name`, the `files` (patterns, relative to the model's folder) that it is found
by, and `open(place, call)`: the source of its tensors (export.source.safetensors.Tensors); `call`
is trefoil.json. Built from that source and the component's specs {name: Spec}, it has

    expected()         source name -> Expected, for the completeness check
    storage(name)      how the tensor will be stored; reads only what that takes
    pack(name)         the tensor as Packed

`name` is a spec name in the last two. A transformer's layout also says whether its file
`stands_alone`, so that the configurations beside it may be missing; a text encoder's has
`stored_bits(folder)`, None for full precision. Where several are there, the first one listed wins.
"""

import fnmatch
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.layouts.floats import Floats
from export.layouts.gemlite import Gemlite
from export.layouts.gguf import Gguf
from export.layouts.hqq import Hqq
from export.layouts.mlx_affine import MlxAffine
from export.layouts.mlx_grid import sibling
from export.layouts.mlx_packed import MlxPacked
from export.layouts.native import Native
from export.layouts.unpacked import Unpacked
from export.source.safetensors import Checkpoint

TRANSFORMER = [MlxPacked, Unpacked, Gemlite, Gguf, Native]
TEXT_ENCODER = [MlxAffine, Floats, Hqq]
# A safetensors file may hold the one or the other, whatever its folder is called.
PACKED = {Unpacked: MlxPacked, Native: MlxPacked, Floats: MlxAffine}
PLAIN = {MlxPacked: Unpacked, MlxAffine: Floats}


@dataclass(frozen=True)
class Place:
    """Where a layout was found."""

    layout: Any
    folder: Path  # of the model
    files: tuple[Path, ...]  # in one folder, that match the layout's patterns

    @property
    def path(self):
        return self.files[0].parent


def find(folder, files, choices):
    """The Place of the first layout of which one of `files` is there, or None.

    files: paths relative to `folder`, with slashes.
    """
    for layout in choices:
        for pattern in layout.files:
            found = [f for f in sorted(files) if matches(f, pattern)]
            if found:
                parent = Path(found[0]).parent
                same = (Path(f) for f in found if Path(f).parent == parent)
                return Place(layout, folder, tuple(folder / f for f in same))
    return None


def by_content(layout, entries):
    """The layout that tensors have which were found by the names that `layout` has."""
    words = [name for name, entry in entries.items() if entry.dtype == "U32"]
    packed = any(sibling(name, "scales") in entries for name in words if name.endswith("weight"))
    return (PACKED if packed else PLAIN).get(layout, layout)


def recognise(place):
    """The Place with the layout that its tensors have."""
    if place.layout not in PACKED | PLAIN:
        return place
    return replace(place, layout=by_content(place.layout, Checkpoint(place.path).entries))


def matches(file, pattern):
    """fnmatch, but a star does not cross a slash."""
    return file.count("/") == pattern.count("/") and fnmatch.fnmatchcase(file, pattern)


__all__ = [
    "TEXT_ENCODER", "TRANSFORMER", "Floats", "MlxAffine", "Place", "by_content", "find",
    "matches", "recognise",
]  # fmt: skip
