"""safetensors files: headers first and checked by us, then one tensor in memory at a time.

A file is: u64 little-endian header length; a JSON object name -> {dtype, shape, data_offsets};
the data, which the tensors cover without holes or overlaps.
https://github.com/huggingface/safetensors#format
"""

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import ExportError, shorten
from export.source.listing import list_folder
from export.source.meaning import check_pairs
from export.source.weights import choose_weights, read_weight_map

# bf16 has no numpy type: it is held as the upper 16 bits of a float32.
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
}
# What the format has beside them, for tensors that nobody reads: dtype -> bits.
OTHER_BITS = {
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64,
}
MAX_HEADER_BYTES = 100_000_000  # as in the safetensors library
MAX_DIMENSIONS = 16
HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies; nothing of it has been read."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # in the file
    bytes: int


@dataclass(frozen=True)
class Tensor:
    """One tensor in memory: `data` in its stored type (bf16 as u16)."""

    name: str
    dtype: str
    data: np.ndarray

    def float32(self) -> np.ndarray:
        """The values, exactly."""
        return widen(self.data, self.dtype)


def widen(data: np.ndarray, dtype: str) -> np.ndarray:
    """bf16, f16 or f32 data as float32, exactly."""
    if dtype == "BF16":
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data.astype(np.float32)


def is_finite(data: np.ndarray, dtype: str) -> bool:
    if dtype == "BF16":
        return not ((data & 0x7F80) == 0x7F80).any()
    return bool(np.isfinite(data).all())


def read_header(path: str | Path) -> dict[str, Entry]:
    """name -> Entry of one file. Raises ExportError for a damaged or hostile file."""
    path = Path(path)
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise ExportError(f"{path}: {file_bytes} bytes are too few for a safetensors file")
            (header_bytes,) = struct.unpack("<Q", prefix)
            if header_bytes > min(file_bytes - 8, MAX_HEADER_BYTES):
                raise ExportError(
                    f"{path}: the header claims {header_bytes} bytes of a file of {file_bytes}; "
                    "it is truncated or no safetensors file, download it again"
                )
            text = file.read(header_bytes)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    header = parse_header(path, text)
    check_pairs(path, header.pop("__metadata__", None))
    data_start = 8 + header_bytes
    entries = {name: parse_entry(path, name, raw, data_start) for name, raw in header.items()}
    check_cover(path, entries, data_start, file_bytes)
    return entries


def parse_header(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs):
        values = dict(pairs)
        if len(values) != len(pairs):
            twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
            raise ExportError(f"{path}: the header names {shorten(twice)} twice")
        return values

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ExportError(
            f"{path}: the header is not valid JSON ({type(error).__name__}); download it again"
        ) from None
    if not isinstance(header, dict):
        raise ExportError(f"{path}: the header is a JSON {type(header).__name__}, not an object")
    broken = [name for name in header if HALF_CHARACTER.search(name)]
    if broken:
        raise ExportError(f"{path}: the header names {ascii(broken[0][:120])}, which holds half a "
                          "character; the file is damaged, download it again")
    return header


def parse_entry(path: Path, name: str, raw: Any, data_start: int) -> Entry:
    where = f"{path}: {name[:120]}"
    if not isinstance(raw, dict) or not {"dtype", "shape", "data_offsets"} <= raw.keys():
        raise ExportError(f"{where}: the header entry lacks dtype, shape or data_offsets")
    dtype, shape, offsets = raw["dtype"], raw["shape"], raw["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES | OTHER_BITS:
        raise ExportError(
            f"{where}: dtype {dtype!r} is unknown, expected one of {[*DTYPES, *OTHER_BITS]}"
        )
    if not is_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise ExportError(f"{where}: shape {shape!r} is not a list of sizes")
    if not is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ExportError(f"{where}: data_offsets {offsets!r} are not a begin and an end")
    if math.prod(size for size in shape if size) >= 1 << 60:
        raise ExportError(f"{where}: shape {shape} takes more than any file has; the file "
                          "is damaged, download it again")
    begin, end = offsets
    want, rest = divmod(math.prod(shape) * bits_of(dtype), 8)
    if rest:
        raise ExportError(f"{where}: {dtype} {shape} takes {8 * want + rest} bits, expected whole "
                          "bytes; the file is damaged, download it again")
    if end - begin != want:
        raise ExportError(
            f"{where}: {dtype} {shape} takes {want} bytes, the offsets give {end - begin}"
        )
    return Entry(path, dtype, tuple(shape), data_start + begin, want)


def bits_of(dtype: str) -> int:
    return OTHER_BITS.get(dtype) or 8 * np.dtype(DTYPES[dtype]).itemsize


def is_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(v) is int and 0 <= v < 1 << 63 for v in values
    )


def check_cover(path: Path, entries: dict[str, Entry], data_start: int, file_bytes: int) -> None:
    """The tensors follow one another from the header to the last byte, or to zero padding."""
    at = data_start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].bytes)):
        if entry.start != at:
            kind = "overlaps the tensor before it" if entry.start < at else "leaves a hole"
            raise ExportError(f"{path}: {name} starts at byte {entry.start} and {kind} ({at})")
        at += entry.bytes
    if at > file_bytes:
        raise ExportError(
            f"{path}: the file is truncated: {file_bytes} bytes, its header needs {at}; "
            "download it again"
        )
    if at < file_bytes and not is_zero(path, at):
        raise ExportError(
            f"{path}: {file_bytes - at} bytes after the last tensor, expected the end of the file "
            f"or zeros; cut it with truncate -s {at}, or download it again"
        )


def is_zero(path: Path, start: int) -> bool:
    """Whether a file holds zeros alone from a byte on: padding, which readers pass over."""
    with path.open("rb") as file:
        file.seek(start)
        while chunk := file.read(1 << 20):
            if chunk.strip(b"\0"):
                return False
    return True


class Tensors:
    """What a layout reads, whatever the file format; `folder` is where, for messages.

    `entries` is name -> Entry, and read(name, first, last) gives rows first..last of one tensor
    (all of it by default), each of the shape that its entry has; rows run along axis 0.
    """

    folder: Path
    entries: dict[str, Entry]

    def read(self, name: str, first: int = 0, last: int | None = None) -> Tensor:
        raise NotImplementedError

    def strip_prefix(self, prefix: str) -> None:
        """Renames prefix.x to x, as a model inside a larger one has it."""
        self.rename(lambda name: name.removeprefix(prefix), prefix)

    def rename(self, new_name: Callable[[str], str], taken: str) -> None:
        """Renames every x to new_name(x), which takes `taken` out of it."""
        renamed: dict[str, Entry] = {}
        for name, entry in self.entries.items():
            if renamed.setdefault(new_name(name), entry) is not entry:
                raise ExportError(f"{entry.path}: {name} is there with and without {taken!r}")
        self.entries = renamed

    def flatten(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Takes x for the matrix [out, in] that `shapes` has, where it is a 1x1 convolution."""
        for name, shape in shapes.items():
            entry = self.entries.get(name)
            if entry and len(shape) == 2 and entry.shape == (*shape, 1, 1):
                self.entries[name] = replace(entry, shape=shape)

    def read_finite(self, name: str, first: int = 0, last: int | None = None) -> Tensor:
        """As read; raises ExportError when a value is infinite or not a number."""
        tensor = self.read(name, first, last)
        if not is_finite(tensor.data, tensor.dtype):
            raise ExportError(
                f"{self.entries[name].path}: {name} holds a value that is infinite or not a "
                "number; the checkpoint is damaged"
            )
        return tensor


class Checkpoint(Tensors):
    """The tensors of a safetensors file, of the shards of an index, or of a folder with either.

    Which of a folder's files they are is decided in export.source.weights.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = Path(path)
        if self.folder.is_dir():
            self.entries = read_entries(self.folder)
        elif self.folder.suffix == ".json":
            self.entries = read_sharded(self.folder)
        else:
            self.entries = read_header(self.folder)

    def read(self, name: str, first: int = 0, last: int | None = None) -> Tensor:
        entry = self.entries[name]
        rows = entry.shape[0] if entry.shape else 1
        last = rows if last is None else min(last, rows)
        row_shape = entry.shape[1:]
        dtype = np.dtype(DTYPES[entry.dtype])
        row_bytes = math.prod(row_shape) * dtype.itemsize
        count = (last - first) * math.prod(row_shape)
        try:
            with entry.path.open("rb") as file:
                file.seek(entry.start + first * row_bytes)
                data = np.fromfile(file, dtype, count)
        except OSError as error:
            raise ExportError(f"{entry.path}: cannot be read ({error.strerror})") from None
        if data.size != count:
            raise ExportError(f"{entry.path}: {name} ends early; the file changed while reading")
        shape = (last - first, *row_shape) if entry.shape else ()
        return Tensor(name, entry.dtype, data.reshape(shape))


def read_entries(folder: Path) -> dict[str, Entry]:
    weights = choose_weights(list_folder(folder, is_whole, depth=1), "")
    if weights.index:
        return read_sharded(Path(folder) / weights.index)
    return read_header(Path(folder) / weights.files[0])


def is_whole(path: Path) -> bool:
    """Whether a safetensors file's header can be read, and the file has the bytes it claims."""
    try:
        read_header(path)
    except ExportError:
        return False
    return True


def read_sharded(index: Path) -> dict[str, Entry]:
    """The union of the shards that an index names.

    What a shard holds counts, as in transformers: the index decides only between shards that hold
    tensors of one name.
    """
    placed, entries = read_weight_map(index), dict[str, Entry]()
    for file in sorted(set(placed.values())):
        path = index.parent / file
        if not path.exists() and not path.is_symlink():
            raise ExportError(f"{path}: missing, though {index.name} names it; download it again")
        for name, entry in read_header(path).items():
            other = entries.setdefault(name, entry)
            if other is not entry and placed.get(name) not in (file, other.path.name):
                raise ExportError(
                    f"{path}: holds {name}, as {other.path.name} does, and {index.name} does not "
                    "say which counts; download the folder again"
                )
            if placed.get(name) == file:
                entries[name] = entry
    return entries
