"""Writers of the container formats, a tensor at a time. None of this is export/'s own code."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

BYTES = {"U8": 1, "F8_E4M3": 1, "BF16": 2, "F16": 2, "F32": 4, "U32": 4, "I32": 4, "I64": 8,
         "F64": 8}
TORCH = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32,
         "U8": torch.uint8, "I32": torch.int32}
GGML = {"F32": 0, "F16": 1, "Q8_0": 8, "I32": 26, "F64": 28, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35,
        "Q1_0": 41, "Q2_0": 42, "PQ2_0": 142, "PTQ1_0": 143}


@dataclass
class Part:
    """One tensor to be written: `chunks()` yields arrays, which together are its bytes.

    start: an array, what a hollow file has of it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    chunks: Any
    bytes: int = 0  # where shape and dtype do not give it
    start: Any = None


def write_json(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def bitstream(codes, bits):
    """u8 [N, K] -> u32 [N, K*bits/32], the first code in the lowest bits."""
    per_byte = 8 // bits
    packed = np.zeros((len(codes), codes.shape[1] // per_byte), np.uint8)
    for i in range(per_byte):
        packed |= codes[:, i::per_byte] << np.uint8(bits * i)
    return packed


def words(rows, columns, bits):
    return (rows, columns * bits // 32)


def write_safetensors(path, parts, hollow=False):
    """hollow: zeros in the place of tensors, which take no room on the disk, but for their `start`.
    """
    entries, at = {}, 0
    for part in parts:
        size = math.prod(part.shape) * BYTES[part.dtype]
        entries[part.name] = {"dtype": part.dtype, "shape": part.shape,
                              "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}} | entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if hollow:
            file.truncate(8 + len(text) + at)
            for part in parts:
                if part.start is not None:
                    file.seek(8 + len(text) + entries[part.name]["data_offsets"][0])
                    part.start.tofile(file)
            return
        for part in parts:
            for chunk in part.chunks():
                np.ascontiguousarray(chunk).tofile(file)
        assert file.tell() == 8 + len(text) + at


def gguf_text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def write_gguf(path, parts, pairs=(), version=3, alignment=32, tail=b"", told=True):
    """Header, tensor infos (dimensions fastest first), aligned data, and `tail` behind it.

    pairs: (key, type and value as bytes) of more key/value pairs. told: the header says the
    alignment where it is not the usual one.
    """
    pairs = [("general.architecture", struct.pack("<I", 8) + gguf_text("flux")),
             ("general.file_type", struct.pack("<II", 4, 0)), *pairs]
    if alignment != 32 and told:
        pairs.append(("general.alignment", struct.pack("<II", 4, alignment)))
    head = b"GGUF" + struct.pack("<IQQ", version, len(parts), len(pairs))
    head += b"".join(gguf_text(key) + value for key, value in pairs)
    at = 0
    for part in parts:
        dimensions = part.shape[::-1]
        head += gguf_text(part.name) + struct.pack("<I", len(dimensions))
        head += struct.pack(f"<{len(dimensions)}Q", *dimensions)
        head += struct.pack("<IQ", GGML[part.dtype], at)
        size = part.bytes or math.prod(part.shape) * BYTES[part.dtype]
        at += size + -size % alignment
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % (alignment if told else 32)))
        start = file.tell()
        for i, part in enumerate(parts):
            for chunk in part.chunks():
                np.ascontiguousarray(chunk).tofile(file)
            if i < len(parts) - 1 or not tail:
                file.write(bytes((start - file.tell()) % alignment))
        file.write(tail)


class Scratch:
    """Tensors for torch.save that lie in files, so that a whole state is never in memory."""

    def __init__(self, folder):
        self.folder, self.count = Path(folder), 0

    def tensor(self, array, dtype):
        self.count += 1
        path = self.folder / str(self.count)
        np.ascontiguousarray(array).tofile(path)
        tensor = torch.from_file(
            str(path), shared=False, size=array.size, dtype=TORCH[dtype]
        )
        return tensor.reshape(array.shape)

    def concatenated(self, chunks, shape, dtype):
        self.count += 1
        path = self.folder / str(self.count)
        with path.open("wb") as file:
            for chunk in chunks:
                np.ascontiguousarray(chunk).tofile(file)
        size = math.prod(shape)
        return torch.from_file(str(path), shared=False, size=size, dtype=TORCH[dtype]).reshape(
            shape
        )
