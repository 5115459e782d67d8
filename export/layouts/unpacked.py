"""The unpacked diffusers transformer, whose low-bit weights already lie on a grid.

Every group of 128 inputs of a row must hold only -s, 0 and s (ternary) or only -s and s (binary),
exactly. A tensor without a single zero is stored binary, any other ternary; both are exact.
"""

import numpy as np

from export.checkpoint import DTYPES, Checkpoint, is_finite
from export.errors import ExportError
from export.layouts.floats import dense_storage, pack_dense
from export.pack import STORAGE_OF, Packed, Storage, pack_trits, pack_words, round_bf16
from export.spec import LOWBIT, Expected

GROUP = 128
ZERO = 1  # the ternary code of weight zero
CHUNK_VALUES = 1 << 24  # rows are read in chunks of about this many weights


class Unpacked:
    name, folder = "unpacked", "transformer"
    files = (f"{folder}/*.safetensors*",)
    stands_alone = False

    def __init__(self, checkpoint, specs):
        self.checkpoint, self.specs = checkpoint, specs

    @staticmethod
    def open(place, call):
        return Checkpoint(place.path)

    def expected(self):
        return {name: Expected(spec.shape) for name, spec in self.specs.items()}

    def storage(self, name):
        spec = self.specs[name]
        if spec.role != LOWBIT:
            return dense_storage(self.checkpoint, name, spec)
        return self.pack(name).storage

    def pack(self, name):
        """Proves that the tensor is on the grid, then packs it."""
        spec = self.specs[name]
        if spec.role != LOWBIT:
            return pack_dense(self.checkpoint, name, spec)
        rows, columns = spec.shape
        step = max(1, CHUNK_VALUES // columns)
        chunks = [self.read_grid(name, row, row + step) for row in range(0, rows, step)]
        codes, scale = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        dtype = self.checkpoint.entries[name].dtype
        if (codes == ZERO).any():
            kind, packed = "ternary", pack_trits(codes)
        else:
            # scale*(code - 0.5): a binary scale is twice the magnitude.
            kind, packed, scale = "binary", pack_words(codes >> 1, 1), 2 * scale
        storage = Storage(kind, spec.shape, GROUP, STORAGE_OF[dtype])
        return Packed(storage, {"codes": packed, "scales": self.narrow(name, scale, dtype)})

    def read_grid(self, name, first, last):
        """Rows first..last as ternary codes u8 [rows, K] and magnitudes f32 [rows, K/GROUP]."""
        values = self.checkpoint.read_finite(name, first, last).float32()
        rows, columns = values.shape
        values = values.reshape(rows, columns // GROUP, GROUP)
        magnitudes = np.abs(values)
        scale = magnitudes.max(axis=-1)
        on_grid = (magnitudes == scale[..., None]) | (magnitudes == 0)
        if not on_grid.all():
            self.refuse(name, first, on_grid, magnitudes)
        codes = (np.sign(values) + ZERO).astype(np.uint8)
        return codes.reshape(rows, columns), scale

    def narrow(self, name, scale, dtype):
        """The scales in the tensor's own dtype; exact unless doubling one overflows."""
        with np.errstate(over="ignore"):  # told below
            data = round_bf16(scale) if dtype == "BF16" else scale.astype(DTYPES[dtype])
        if not is_finite(data, dtype):
            raise ExportError(f"{self.checkpoint.folder}: {name} has a scale too large for {dtype}")
        return data

    def refuse(self, name, first, on_grid, magnitudes):
        row, group, column = np.unravel_index(int(np.argmin(on_grid)), on_grid.shape)
        found = np.unique(magnitudes[row, group])
        raise ExportError(
            f"{self.checkpoint.folder}: {name}, row {first + row}, columns {group * GROUP} to "
            f"{group * GROUP + GROUP - 1}: {len(found)} different magnitudes "
            f"({found[0]:g} to {found[-1]:g}), expected only 0 and one other; this is an ordinary "
            "full-precision checkpoint, and only ternary or binary ones can be packed"
        )
