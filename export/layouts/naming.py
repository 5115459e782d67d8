"""A source's names as ours: what stands around them when a model was part of something larger, and

tensors whose rows come from other tensors.
"""

from dataclasses import replace

import numpy as np

from export.errors import ExportError
from export.source.safetensors import Tensor, Tensors

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # torch's own


def strip_prefixes(source, anchors):
    """Takes off the prefix that a model's names have in common, and the wrappers inside them.

    anchors: names that every such model has; the first of them that is there tells the prefix. Of
    two prefixes before it, the one with more names is the model's. Names that lack the prefix stay
    as they are.
    """
    for wrapper in WRAPPERS:
        source.rename(lambda name, inner=wrapper: name.replace(inner, ""), wrapper)
    for anchor in anchors:
        prefixes = {name.removesuffix(anchor) for name in source.entries
                    if name == anchor or name.endswith(f".{anchor}")}
        if "" in prefixes:
            return
        if prefixes:
            count = {p: sum(name.startswith(p) for name in source.entries) for p in prefixes}
            source.strip_prefix(max(sorted(prefixes), key=count.get))
            return


def take_tied(source, tied):
    """Gives tensors that are not there the place of others that are the same: `tied` is the

    beginning of a name -> that of the other.
    """
    for start, other in tied.items():
        if not any(name.startswith(start) for name in source.entries):
            source.rename(lambda name, own=start, same=other: (
                own + name.removeprefix(same) if name.startswith(same) else name), other)


class Renamed(Tensors):
    """Tensors made of rows of another source's: `pieces` is name -> [(its name, first, rows)].

    rename(name, rows): {our name: [(first row, rows), ...]} of one tensor of the source's.
    """

    def __init__(self, source, rename):
        self.folder, self.source = source.folder, source
        self.entries, self.pieces = {}, {}
        for native, entry in source.entries.items():
            all_rows = entry.shape[0] if entry.shape else 1
            for name, spans in rename(native, all_rows).items():
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
        if data.shape[1:] == self.source.entries[native].shape[1:]:  # values, not blocks of them
            data = data.reshape(len(data), *entry.shape[1:])
        return Tensor(name, entry.dtype, data)
