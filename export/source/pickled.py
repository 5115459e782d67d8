"""Tensors of a torch pickle (.pt), each read from the mapped file when it is asked for.

Only here is torch imported. Nothing in the pickle is run: torch rebuilds tensors and plain values
(weights_only), and refuses anything else.
"""

from dataclasses import dataclass

from export.errors import ExportError
from export.source.safetensors import DTYPES, Entry, Tensor, Tensors

NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "uint8": "U8",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}
MAPPED_BYTES = 1 << 29  # pages read stay with the process until the file is mapped anew


@dataclass(frozen=True)
class PickledEntry(Entry):
    key: str  # in the file


class Pickled(Tensors):
    """A dict, also nested: {"a": {"b": tensor}} has the entry a.b.

    `values` has what is no tensor, under such names too.
    """

    def __init__(self, path):
        self.folder, self.path = path.parent, path
        state = self.map()
        self.values = {key: value for key, value in state.items() if key not in self.tensors}
        self.entries = {}
        for key, tensor in self.tensors.items():
            dtype, shape = dtype_of(tensor), tuple(tensor.shape)
            size = tensor.numel() * tensor.element_size()
            self.entries[key] = PickledEntry(path, dtype, shape, 0, size, key)

    def map(self):
        """Maps the file anew, lets an earlier mapping go, and gives the flat state."""
        self.tensors, self.bytes_read = {}, 0
        try:
            state = dict(flatten("", load(self.path)))
        except RecursionError:
            raise ExportError(f"{self.path}: holds dicts without end, expected tensors") from None
        self.tensors = {key: v for key, v in state.items() if hasattr(v, "untyped_storage")}
        return state

    def rename(self, new_name, taken):
        super().rename(new_name, taken)
        self.values = {new_name(name): value for name, value in self.values.items()}

    def read(self, name, first=0, last=None):
        import torch

        if self.bytes_read > MAPPED_BYTES:
            self.map()
        entry = self.entries[name]
        rows = self.tensors[entry.key]
        rows = rows[first:last].clone() if entry.shape else rows.clone()
        self.bytes_read += rows.nbytes
        data = rows.contiguous().flatten().view(torch.uint8).numpy().view(DTYPES[entry.dtype])
        shape = (len(rows), *entry.shape[1:]) if entry.shape else ()
        return Tensor(name, entry.dtype, data.reshape(shape))


def dtype_of(tensor):
    """By safetensors' name, or torch's own where there is none."""
    kind = str(tensor.dtype).removeprefix("torch.")
    plain = str(tensor.layout) == "torch.strided"
    return NAMES.get(kind, kind) if plain else f"{tensor.layout} {kind}"


def flatten(name, value):
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from flatten(f"{name}.{key}" if name else str(key), inner)


def load(path):
    try:
        import torch
    except ImportError:
        raise ExportError(
            f"{path}: reading a torch pickle needs torch, which is not installed; install it "
            "beside the other packages, or take the model's MLX or unpacked layout"
        ) from None
    try:
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # pickle, zip and torch each have errors of their own
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            f"{path}: torch does not load it as plain tensors ({reason}); a pickle that needs "
            "more could run anything, so it is refused: take the model's MLX or unpacked layout, "
            "or download the file again"
        ) from None
    if not isinstance(state, dict):
        raise ExportError(f"{path}: holds a {type(state).__name__}, expected a dict of tensors")
    return state
