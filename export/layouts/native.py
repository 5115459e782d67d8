"""A single file with the names of FLUX.2's original code, whose low-bit weights lie on a grid.

Such a file stands at the top of the folder, beside vae/ and the text encoder; without a
transformer/config.json the configuration follows from the shapes. trefoil.json's
"swapped_norm_out": true tells that the last modulation's halves already lie in diffusers' order.
"""

from dataclasses import replace

import numpy as np

from export.denoisers import flux2, flux2_native
from export.errors import ExportError
from export.layouts.naming import strip_prefixes
from export.layouts.unpacked import Unpacked
from export.source.safetensors import Checkpoint, Tensor, Tensors


class Native(Unpacked):
    name, stands_alone = "native", True
    files: tuple[str, ...] = ("*.safetensors",)

    @staticmethod
    def open(place, call):
        return with_diffusers_names(Checkpoint(one_file(place)), call)


def one_file(place):
    """The file, or the index of the shards, that export.source.files chose."""
    return place.files[0]


def with_diffusers_names(source, call):
    """The source itself when it has diffusers' names, else a Renamed one."""
    strip_prefixes(source, flux2.ANCHORS)
    swapped = call.flag("swapped_norm_out", False)
    return Renamed(source, swapped) if flux2_native.MARK in source.entries else source


class Renamed(Tensors):
    """Tensors made of rows of another source's: `pieces` is name -> [(its name, first, rows)]."""

    def __init__(self, source, swapped):
        self.folder, self.source = source.folder, source
        self.entries, self.pieces = {}, {}
        for native, entry in source.entries.items():
            all_rows = entry.shape[0] if entry.shape else 1
            for name, spans in flux2_native.rename(native, all_rows, swapped).items():
                if name in self.entries:
                    raise ExportError(f"{entry.path}: {native} and another tensor are both {name}")
                rows = sum(count for _, count in spans)
                shape = (rows, *entry.shape[1:]) if entry.shape else ()
                size = entry.bytes * rows // max(all_rows, 1)
                self.entries[name] = replace(entry, shape=shape, bytes=size)
                self.pieces[name] = [(native, first, count) for first, count in spans]

    def rename(self, new_name, taken):
        super().rename(new_name, taken)
        self.pieces = {new_name(name): pieces for name, pieces in self.pieces.items()}

    def read(self, name, first=0, last=None):
        entry = self.entries[name]
        if not entry.shape:
            return replace(self.source.read(self.pieces[name][0][0]), name=name)
        last = entry.shape[0] if last is None else min(entry.shape[0], last)
        parts, at = [], 0
        for native, start, count in self.pieces[name]:
            begin, end = max(first - at, 0), min(last - at, count)
            if begin < end:
                parts.append(self.source.read(native, start + begin, start + end).data)
            at += count
        data = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return Tensor(name, entry.dtype, data)
