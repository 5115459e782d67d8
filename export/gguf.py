"""Reads GGUF files: the header at once, tensors by rows.

A file is: "GGUF", version, numbers of tensors and of key/value pairs; the pairs; for each tensor
its name, dimensions (fastest first), type and offset; the data, aligned. A quantised row is a row
of blocks, each with a float16 scale and the codes of `block` weights.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from export.checkpoint import DTYPES, Entry, Tensor, Tensors
from export.errors import ExportError

FLOATS = {0: "F32", 1: "F16", 30: "BF16"}
BLOCKS = {  # type -> name and {weights in a block: bytes}
    8: ("Q8_0", {32: 34}), 41: ("Q1_0", {128: 18}), 42: ("Q2_0", {64: 18, 128: 34}),
}  # fmt: skip
COARSE = {34: "TQ1_0", 35: "TQ2_0"}
ROUNDED = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
}  # fmt: skip
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # type -> bytes
UINT32, STRING, ARRAY = 4, 8, 9
MOST = 1 << 24  # tensors, pairs, elements of an array, bytes of a string


@dataclass(frozen=True)
class GgufEntry(Entry):
    """dtype is that of what `read` gives: F32 for Q8_0, which is dequantised."""

    block: tuple[int, int] | None  # weights and bytes; None for floats


class Gguf(Tensors):
    def __init__(self, path):
        self.folder, self.path = path.parent, path
        try:
            with path.open("rb") as file:
                self.entries = Header(path, file).entries()
        except OSError as error:
            raise ExportError(f"{path}: cannot be read ({error.strerror})") from None

    def read(self, name, first=0, last=None):
        """As Checkpoint.read; rows of Q1_0 and Q2_0 are u8 [rows, blocks, bytes of a block]."""
        entry = self.entries[name]
        last = min(entry.shape[0], last or entry.shape[0])
        row_bytes = entry.bytes // entry.shape[0]
        with self.path.open("rb") as file:
            file.seek(entry.start + first * row_bytes)
            data = np.fromfile(file, np.uint8, (last - first) * row_bytes)
        if data.size != (last - first) * row_bytes:
            raise ExportError(f"{self.path}: {name} ends early; the file changed while reading")
        if entry.block is None:
            data = data.view(DTYPES[entry.dtype]).reshape(-1, *entry.shape[1:])
        else:
            data = data.reshape(last - first, -1, entry.block[1])
        if entry.block and entry.dtype == "F32":
            scales, codes = split_blocks(data)
            data = (scales.astype("<f4")[..., None] * codes.view(np.int8)).astype("<f4")
            data = data.reshape(last - first, *entry.shape[1:])
        return Tensor(name, entry.dtype, data)


def split_blocks(data):
    """u8 [rows, blocks, bytes] -> scales f16 [rows, blocks] and codes u8 [rows, blocks, bytes-2]"""
    scales = np.ascontiguousarray(data[..., :2]).view("<f2")[..., 0]
    return scales, np.ascontiguousarray(data[..., 2:])


class Header:
    def __init__(self, path, file):
        self.path, self.file = path, file
        self.file_bytes = path.stat().st_size
        self.alignment = 32

    def entries(self):
        if self.take(4) != b"GGUF":
            self.fail("is no GGUF file")
        (version,) = self.unpack("I")
        if version not in (2, 3):
            self.fail(f"is GGUF version {version}, expected 2 or 3 in little-endian order")
        tensors, pairs = self.count(), self.count()
        for _ in range(pairs):
            key, (kind,) = self.string(), self.unpack("I")
            value = self.value(kind)
            if key == "general.alignment" and kind == UINT32:
                (self.alignment,) = struct.unpack("<I", value)
        if not 0 < self.alignment < MOST:
            self.fail(f"general.alignment is {self.alignment}, expected a few bytes")
        infos = [self.info() for _ in range(tensors)]
        start = self.padded(self.file.tell())
        if len({name for name, *_ in infos}) != len(infos):
            self.fail("two tensors have one name")
        ends = sorted([at for *_, at in infos] + [self.file_bytes - start])
        after = {at: ends[i + 1] for i, at in enumerate(ends[:-1])}
        return {
            name: self.entry(name, shape, kind, start + at, after[at] - at)
            for name, shape, kind, at in infos
        }

    def info(self):
        name, (dimensions,) = self.string(), self.unpack("I")
        if not 1 <= dimensions <= 4:
            self.fail(f"{name} has {dimensions} dimensions, expected 1 to 4")
        shape = self.unpack(f"{dimensions}Q")[::-1]
        kind, at = self.unpack("IQ")
        if not all(0 < size < 1 << 40 for size in shape) or at % self.alignment:
            self.fail(f"the sizes {list(shape)} or the offset {at} of {name} are damaged")
        return name, shape, kind, at

    def entry(self, name, shape, kind, start, room):
        """room: bytes up to the next tensor, which tell the two blocks of Q2_0 apart."""
        values = math.prod(shape)
        if kind in FLOATS:
            dtype, sizes = FLOATS[kind], {None: values * np.dtype(DTYPES[FLOATS[kind]]).itemsize}
        elif kind in BLOCKS:
            dtype, blocks = BLOCKS[kind]
            sizes = {(n, b): values // n * b for n, b in blocks.items() if shape[-1] % n == 0}
            dtype = "F32" if dtype == "Q8_0" else dtype
        else:
            self.refuse(name, kind)
        fits = [block for block, size in sizes.items() if size <= room <= self.padded(size)]
        if len(fits) != 1:
            self.fail(f"{name}, {dtype} {list(shape)}, does not take the {room} bytes that it has; "
                      "download the file again")  # fmt: skip
        return GgufEntry(self.path, dtype, shape, start, sizes[fits[0]], fits[0])

    def refuse(self, name, kind):
        if kind in COARSE:
            self.fail(
                f"{name} is {COARSE[kind]}, which has one scale for 256 inputs where the model has "
                "one for 128, so it is no longer exact; take a Q1_0 or Q2_0 file, or another layout"
            )
        what = ROUNDED.get(kind, f"of the unknown type {kind}")
        self.fail(
            f"{name} is {what}, expected Q1_0, Q2_0, Q8_0, BF16, F16 or F32: other types round the "
            "ternary or binary weights; take one of these, or another layout"
        )

    def value(self, kind):
        """The bytes of a scalar; strings and arrays are only passed over."""
        if kind in SCALARS:
            return self.take(SCALARS[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            self.fail(f"has a value of the unknown type {kind}")
        (inner,), count = self.unpack("I"), self.count()
        if inner in SCALARS:
            return self.take(count * SCALARS[inner])
        if inner != STRING:
            self.fail(f"has an array of the type {inner}")
        for _ in range(count):
            self.string()
        return None

    def string(self):
        return self.take(self.count()).decode("utf-8", "replace")

    def count(self):
        (count,) = self.unpack("Q")
        if count > MOST:
            self.fail(f"the header counts {count} of something; the file is damaged")
        return count

    def unpack(self, form):
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def take(self, count):
        data = self.file.read(count)
        if len(data) < count:
            self.fail(f"{self.file_bytes} bytes end inside the header; download it again")
        return data

    def padded(self, size):
        return size + -size % self.alignment

    def fail(self, message):
        raise ExportError(f"{self.path}: {message}")
