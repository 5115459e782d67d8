"""Reads GGUF files: the header at once, tensors by rows.

A file is: "GGUF", version, numbers of tensors and of key/value pairs; the pairs; for each tensor
its name, dimensions (fastest first), type and offset; the data, aligned. A tensor of a type that is
not read has an entry too, with the type's name as its dtype: only one that is needed is refused.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from export.errors import ExportError
from export.source.gguf_extents import Info, block_of, find_two_sizes, rooms, size_of
from export.source.gguf_types import split_scales, type_name
from export.source.meaning import check_pairs
from export.source.safetensors import DTYPES, Entry, Tensor, Tensors

SCALARS = {  # type of a value -> its form
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}
STRING, ARRAY = 8, 9
MOST = 1 << 24  # tensors, pairs, elements of an array, bytes of a string
MOST_NESTED = 8  # arrays in arrays
BIG_ENDIAN = {version << 24 for version in (1, 2, 3)}


@dataclass(frozen=True)
class GgufEntry(Entry):
    """dtype is that of what `read` gives: F32 for Q8_0, which is dequantised."""

    block: tuple[int, int] | None  # weights and bytes; None for floats


class Gguf(Tensors):
    """`values` has the header's pairs: key -> number or string, None for an array."""

    entries: dict[str, GgufEntry]  # type: ignore[assignment]  # nobody adds others
    values: dict[str, Any]

    def __init__(self, path: Path) -> None:
        self.folder, self.path = path.parent, path
        try:
            with path.open("rb") as file:
                header = Header(path, file)
                self.entries = header.entries()
        except OSError as error:
            raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
        self.values = header.values

    def read(self, name: str, first: int = 0, last: int | None = None) -> Tensor:
        """As Checkpoint.read; rows of low-bit types are u8 [rows, blocks, bytes of a block].

        Blocks of a tensor of one dimension are one row.
        """
        entry = self.entries[name]
        by_rows = entry.shape[1:] or not entry.block
        rows = entry.shape[0] if entry.shape and by_rows else 1
        last = rows if last is None else min(last, rows)
        row_bytes = entry.bytes // max(rows, 1)
        try:
            with self.path.open("rb") as file:
                file.seek(entry.start + first * row_bytes)
                data = np.fromfile(file, np.uint8, (last - first) * row_bytes)
        except OSError as error:
            raise ExportError(f"{self.path}: cannot be read ({error.strerror})") from None
        if data.size != (last - first) * row_bytes:
            raise ExportError(f"{self.path}: {name} ends early; the file changed while reading")
        shape = (last - first, *entry.shape[1:]) if entry.shape and by_rows else entry.shape
        if entry.block is None:
            return Tensor(name, entry.dtype, data.view(DTYPES[entry.dtype]).reshape(shape))
        data = data.reshape(last - first, row_bytes // entry.block[1], entry.block[1])
        if entry.dtype == "F32":
            scales, codes = split_scales(data)
            data = (scales.astype("<f4")[..., None] * codes.view(np.int8)).astype("<f4")
            data = data.reshape(shape)
        return Tensor(name, entry.dtype, data)


class Header:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.file_bytes = path.stat().st_size
        self.alignment, self.values = 32, dict[str, Any]()

    def entries(self) -> dict[str, GgufEntry]:
        """name -> GgufEntry. Raises ExportError for a damaged or hostile file."""
        infos = self.read()
        start = self.file.tell()
        start += -start % self.alignment
        room = rooms(infos, self.file_bytes - start)
        told = (value for key, value in self.values.items() if key.startswith("general."))
        hints = [self.path.name, *(value for value in told if isinstance(value, str))]
        two_sizes = find_two_sizes(infos, room, self.file, start, hints, self.fail)
        return {info.name: self.entry(info, start, room[info.name], two_sizes) for info in infos}

    def read(self) -> list[Info]:
        """The tensors' Infos; `values` and `alignment` on the way."""
        if self.take(4) != b"GGUF":
            self.fail("is no GGUF file")
        (version,) = self.unpack("I")
        if version in BIG_ENDIAN:
            self.fail("is a GGUF file in big-endian order, expected little-endian; convert it with "
                      "llama.cpp's gguf_convert_endian.py, or download the usual file")
        if version not in (2, 3):
            self.fail(f"is GGUF version {version}, expected 2 or 3; convert it anew")
        tensors, pairs = self.count(), self.count()
        for _ in range(pairs):
            key, (kind,) = self.string(), self.unpack("I")
            if key in self.values:
                self.fail(f"two values have the name {key[:120]}; the file is damaged")
            self.values[key] = self.value(kind)
        check_pairs(self.path, self.values)
        self.alignment = self.values.get("general.alignment", self.alignment)
        if type(self.alignment) is not int or not 0 < self.alignment < MOST:
            self.fail(f"general.alignment is {self.alignment!r}, expected a few bytes")
        infos = [self.info() for _ in range(tensors)]
        if len({info.name for info in infos}) != len(infos):
            self.fail("two tensors have one name")
        return infos

    def info(self) -> Info:
        name, (dimensions,) = self.string(), self.unpack("I")
        if dimensions > 4:
            self.fail(f"{name} has {dimensions} dimensions, expected at most 4")
        shape = self.unpack(f"{dimensions}Q")[::-1]
        kind, at = self.unpack("IQ")
        count = math.prod(size for size in shape if size)  # of an empty tensor, too
        if count >= 1 << 48 or at % self.alignment or at >= 1 << 48:
            self.fail(f"the sizes {list(shape)} or the offset {at} of {name} are damaged")
        return Info(name, shape, kind, at)

    def entry(self, info: Info, start: int, room: int, two_sizes: int) -> GgufEntry:
        block = block_of(info, two_sizes)
        dtype = type_name(info.kind)
        where = f"{info.name}, {dtype} {list(info.shape)},"
        if block and info.columns % block[0]:
            self.fail(f"{info.name} is {dtype}, which has one scale for {block[0]} inputs, got "
                      f"rows of {info.columns}; take another file of the model")
        size = size_of(info, block, room)
        end = start + info.at + size
        if end > self.file_bytes:
            self.fail(f"{where} ends at byte {end}, and the file has {self.file_bytes}; "
                      "download it again")
        if size > room:
            self.fail(f"{where} needs {size} bytes, and the next tensor begins after {room}; the "
                      "file is damaged, download it again")
        dtype = "F32" if dtype == "Q8_0" else dtype
        return GgufEntry(self.path, dtype, info.shape, start + info.at, size, block)

    def value(self, kind: int, nested: int = 0) -> Any:
        """A number or a string; an array is passed over, and is whether it holds anything."""
        if kind in SCALARS:
            return self.unpack(SCALARS[kind])[0]
        if kind == STRING:
            return self.string()
        if kind != ARRAY or nested > MOST_NESTED:
            self.fail(f"has a value of the unknown type {kind}" if kind != ARRAY else
                      f"has arrays nested more than {MOST_NESTED} deep")
        (inner,), count = self.unpack("I"), self.count()
        if inner in SCALARS:
            self.skip(count * struct.calcsize(SCALARS[inner]))
        else:
            for _ in range(count):
                self.value(inner, nested + 1)
        return count > 0

    def string(self) -> str:
        return self.take(self.count()).decode("utf-8", "replace")

    def count(self) -> int:
        (count,) = self.unpack("Q")
        if count > MOST:
            self.fail(f"the header counts {count} of something; the file is damaged")
        return count

    def unpack(self, form: str) -> tuple:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def take(self, count: int) -> bytes:
        self.room_for(count)
        return self.file.read(count)

    def skip(self, count: int) -> None:
        self.room_for(count)
        self.file.seek(count, 1)

    def room_for(self, count: int) -> None:
        if self.file.tell() + count > self.file_bytes:
            self.fail(f"{self.file_bytes} bytes end inside the header; download it again")

    def fail(self, message: str) -> NoReturn:
        raise ExportError(f"{self.path}: {message}")
