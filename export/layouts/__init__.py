"""How published checkpoints lay out their tensors: a layout is a file and a line here.

What a layout class has is written down in layout.py. Where several are there, the first one listed
wins.
"""

import fnmatch
from pathlib import Path

from export.layouts.codes2b import Codes2b
from export.layouts.floats import Floats
from export.layouts.gemlite import Gemlite
from export.layouts.gguf import Gguf
from export.layouts.halves import Halves
from export.layouts.hqq import Hqq
from export.layouts.layout import Place
from export.layouts.mlx_affine import MlxAffine
from export.layouts.mlx_grid import sibling
from export.layouts.mlx_packed import MlxPacked
from export.layouts.native import Native
from export.layouts.unpacked import Unpacked
from export.source.codes2b import CODES

LOWBIT = (MlxPacked, Unpacked, Gemlite, Gguf, Native, Codes2b)  # of denoisers
LINEAR = (MlxAffine, Floats, Hqq)  # of text encoders
WHOLE = (Floats,)  # of autoencoders
HALF = (Halves,)  # of those that lose nothing by 16 bits
# A safetensors file may hold the one or the other, whatever its folder is called.
PACKED = {Unpacked: MlxPacked, Native: MlxPacked, Floats: MlxAffine}
PLAIN = {MlxPacked: Unpacked, MlxAffine: Floats}


def patterns(layout, folder):
    """Where a layout's files lie, for a part that diffusers keeps in `folder`."""
    return [pattern.format(folder=folder) for pattern in layout.files]


def home(layout, folder):
    """The folder in which a layout is written, likewise."""
    return patterns(layout, folder)[0].rpartition("/")[0]


def find(root, files, choices, folder):
    """The Place of the first layout of which one of `files` is there, or None.

    files: paths relative to `root`, with slashes; folder: diffusers' name of the part.
    """
    for layout in choices:
        for pattern in patterns(layout, folder):
            found = [f for f in sorted(files) if matches(f, pattern)]
            if found:
                parent = Path(found[0]).parent
                same = (Path(f) for f in found if Path(f).parent == parent)
                return Place(layout, root, tuple(root / f for f in same))
    return None


def by_content(layout, entries, choices):
    """The layout that tensors have which were found by the names that `layout` has."""
    words = [name for name, entry in entries.items() if entry.dtype == "U32"]
    packed = any(sibling(name, "scales") in entries for name in words if name.endswith("weight"))
    other = (PACKED if packed else PLAIN).get(layout, layout)
    if any(name.endswith(f".{CODES}") for name in entries):
        other = Codes2b
    return other if other in choices else layout


def matches(file, pattern):
    """fnmatch, but a star does not cross a slash."""
    return file.count("/") == pattern.count("/") and fnmatch.fnmatchcase(file, pattern)


__all__ = [
    "HALF", "LINEAR", "LOWBIT", "WHOLE", "Floats", "Halves", "MlxAffine", "MlxPacked", "Place",
    "Unpacked", "by_content", "find", "home", "matches", "patterns",
]
