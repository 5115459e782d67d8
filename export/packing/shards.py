"""Shards: the payload of a component as one stream of parts, cut into files named by their hash.

Every part starts at a multiple of 256 bytes of a shard; a shard never mixes components.
"""

import hashlib

import numpy as np

ALIGNMENT = 256  # WebGPU's minStorageBufferOffsetAlignment
MIB = 1 << 20


def stream_bytes(parts):
    """Bytes of the shards from one `begin` to the next, for parts of these many bytes."""
    at = 0
    for part in parts:
        at += -at % ALIGNMENT + part
    return at


class ShardWriter:
    """Writes the parts of all components, one after the other, holding one part at a time.

    `shards` lists what was written: {"file", "bytes", "sha256", "component", "onDemand"}, the last
    only where it is true: a first picture does without the shard.
    """

    def __init__(self, folder, shard_bytes):
        assert shard_bytes % ALIGNMENT == 0 and shard_bytes > 0
        self.folder, self.shard_bytes = folder, shard_bytes
        self.shards = []
        self.file = None

    def begin(self, component, on_demand=False):
        """Parts from here on belong to `component`, in a new shard."""
        self.finish()
        self.about = {"component": component} | ({"onDemand": True} if on_demand else {})

    def write(self, part):
        """Appends an array; its extents [[shard, offset, bytes], ...], empty for no bytes."""
        if self.file and self.position % ALIGNMENT:
            self.append(bytes(-self.position % ALIGNMENT))
        payload = memoryview(np.ascontiguousarray(part).reshape(-1).view(np.uint8))
        extents = []
        while payload:
            if self.file and self.position == self.shard_bytes:
                self.finish()
            if not self.file:
                self.open()
            piece = payload[: self.shard_bytes - self.position]
            extents.append([len(self.shards), self.position, len(piece)])
            self.append(piece)
            payload = payload[len(piece) :]
        return extents

    def open(self):
        self.path = self.folder / "shard.partial"
        self.file = self.path.open("wb")
        self.hash = hashlib.sha256()
        self.position = 0

    def append(self, piece):
        self.file.write(piece)
        self.hash.update(piece)
        self.position += len(piece)

    def finish(self):
        """Closes the current shard, if any, and gives it the name of its content."""
        if not self.file:
            return
        self.file.close()
        self.file = None
        digest = self.hash.hexdigest()
        name = f"{digest}.bin"
        self.path.replace(self.folder / name)
        self.shards.append({"file": name, "bytes": self.position, "sha256": digest} | self.about)

    def close(self):
        """Drops an unfinished shard; after finish there is none."""
        if self.file:
            self.file.close()
            self.file = None
