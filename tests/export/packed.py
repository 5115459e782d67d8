"""Reads a built site's manifest and shards back into weights, by arithmetic of its own."""

import hashlib
import json

import numpy as np

from tests.export.tiny import as_float

FLOATS = {"bf16": "BF16", "f16": "F16", "f32": "F32"}
NUMPY = {"bf16": "<u2", "f16": "<f2", "f32": "<f4"}


class PackedSite:
    """A site folder, or the folder of its weights: `manifest`, and any tensor by its name there."""

    def __init__(self, folder):
        self.folder = folder / "model" if (folder / "model").is_dir() else folder
        self.manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        self.shards = [(self.folder / s["file"]).read_bytes() for s in self.manifest["shards"]]

    def part(self, name, part):
        """The bytes of one part, joined from its extents."""
        extents = self.manifest["tensors"][name][part]
        return b"".join(self.shards[shard][at : at + count] for shard, at, count in extents)

    def stored(self, name, part="data"):
        """A float part in its stored type, flat, and its safetensors dtype."""
        entry = self.manifest["tensors"][name]
        kind = entry["storage"] if part == "data" else entry["scales_dtype"]
        return np.frombuffer(self.part(name, part), NUMPY[kind]), FLOATS[kind]

    def weight(self, name):
        """The weights, float64, in their manifest shape."""
        entry = self.manifest["tensors"][name]
        kind, shape = entry["storage"], entry["shape"]
        if kind in FLOATS:
            return as_float(*self.stored(name)).astype(float).reshape(shape)
        codes = self.codes(name).astype(float)
        scales, biases = self.groups(name, "scales"), 0
        if kind == "ternary":
            codes -= 1
        elif kind == "binary":
            codes -= 0.5
        else:
            biases = self.groups(name, "biases")
        return scales * codes + biases

    def codes(self, name):
        """Integers [N, K]."""
        entry = self.manifest["tensors"][name]
        data = np.frombuffer(self.part(name, "codes"), np.uint8)
        rows, columns = entry["shape"]
        if entry["storage"] == "ternary":
            digits = [data // 3**i % 3 for i in range(5)]
            return np.stack(digits, 1).reshape(-1)[: rows * columns].reshape(rows, columns)
        bits = {"binary": 1}.get(entry["storage"]) or int(entry["storage"].removeprefix("affine"))
        planes = np.unpackbits(data, bitorder="little").reshape(rows, columns, bits)
        return (planes.astype(int) << np.arange(bits)).sum(axis=-1)

    def groups(self, name, part):
        """Scales or biases of every column, float64 [N, K]."""
        entry = self.manifest["tensors"][name]
        values = as_float(*self.stored(name, part)).astype(float)
        return np.repeat(values.reshape(entry["shape"][0], -1), entry["group"], axis=1)

    def check_shards(self, shard_bytes=None):
        """Names, hashes, lengths, components, alignment, order and padding."""
        for entry, data in zip(self.manifest["shards"], self.shards, strict=True):
            assert entry["file"] == f"{entry['sha256']}.bin"
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert len(data) == entry["bytes"] and (not shard_bytes or len(data) <= shard_bytes)
        used = [np.zeros(len(data), bool) for data in self.shards]
        for name, entry in self.manifest["tensors"].items():
            for part in ("data", "codes", "scales", "biases"):
                for i, (shard, at, count) in enumerate(entry.get(part, [])):
                    assert at % 256 == 0 or i, f"{name} {part} is not aligned"
                    assert i == 0 or at == 0, f"{name} {part} does not continue at a shard's start"
                    assert self.manifest["shards"][shard]["component"] == name.split(".")[0]
                    assert not used[shard][at : at + count].any(), f"{name} {part} overlaps"
                    used[shard][at : at + count] = True
        for data, mask in zip(self.shards, used, strict=True):
            assert not np.frombuffer(data, np.uint8)[~mask].any(), "padding is not zero"
            assert (~mask).sum() < 256 * len(self.manifest["tensors"]) * 3
