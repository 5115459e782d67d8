"""The unpacked diffusers transformer, whose low-bit weights already lie on a grid.

Every group of inputs of a row must hold only -s, 0 and s (ternary) or only -s and s (binary),
exactly. The values tell the group: the widest that every row keeps to, be it the whole row. A
tensor without a single zero whose rows fill whole words is stored binary, any other ternary; both
are exact.
"""

import math

import numpy as np

from export.errors import ExportError
from export.layouts.floats import dense_storage, pack_dense
from export.layouts.groups import what_fits, widest_group
from export.packing.formats import (
    GROUP_STEP,
    STORAGE_OF,
    USUAL_GROUP,
    WORD_BITS,
    Packed,
    Storage,
    narrow,
    pack_trits,
    pack_words,
    round_bf16,
)
from export.packing.spec import LOWBIT, Expected
from export.source.safetensors import DTYPES, Checkpoint, is_finite

FEWEST_TOLD = 8  # narrower groups than that are no sign of a ternary weight
ZERO = 1  # the ternary code of weight zero
CHUNK_VALUES = 1 << 24  # rows are read in chunks of about this many weights


class Unpacked:
    name = "unpacked"
    files: tuple[str, ...] = ("{folder}/*.safetensors*",)
    stands_alone = quantises = False

    def __init__(self, checkpoint, specs):
        self.checkpoint, self.specs = checkpoint, specs

    @staticmethod
    def open(place):
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
        group, scale = widest_group(scale, spec)
        return self.store(name, codes, scale, group, self.checkpoint.entries[name].dtype)

    def store(self, name, codes, scale, group, dtype):
        """The Packed of ternary codes u8 [N, K] and scales f32 [N, K/group], of a `dtype` once."""
        spec = self.specs[name]
        if (codes == ZERO).any() or math.gcd(spec.shape[1], spec.cut) % WORD_BITS:
            kind, packed = "ternary", pack_trits(codes)
        else:
            # scale*(code - 0.5): a binary scale is twice the magnitude.
            kind, packed, scale = "binary", pack_words(codes >> 1, 1), 2 * scale
        dtype, scales = self.narrow(name, scale, dtype)
        storage = Storage(kind, spec.shape, group, STORAGE_OF[dtype])
        return Packed(storage, {"codes": packed, "scales": scales})

    def read_grid(self, name, first, last):
        """Rows first..last as ternary codes u8 [rows, K] and magnitudes f32 [rows, K/16]."""
        values = self.checkpoint.read_finite(name, first, last).float32()
        rows, columns = values.shape
        if columns % GROUP_STEP:
            self.fail(name, f"has {columns} inputs, expected a multiple of {GROUP_STEP}")
        values = values.reshape(rows, columns // GROUP_STEP, GROUP_STEP)
        magnitudes = np.abs(values)
        scale = magnitudes.max(axis=-1)
        on_grid = (magnitudes == scale[..., None]) | (magnitudes == 0)
        if not on_grid.all():
            self.refuse(name, first, on_grid.all(axis=-1), magnitudes.reshape(rows, columns))
        codes = (np.sign(values) + ZERO).astype(np.uint8)
        return codes.reshape(rows, columns), scale

    def narrow(self, name, scale, dtype):
        """dtype and the scales in it: the tensor's own, or a narrower one than F32 that is exact.

        They are exact unless doubling one overflows.
        """
        with np.errstate(over="ignore"):  # told below
            data = round_bf16(scale) if dtype == "BF16" else scale.astype(DTYPES[dtype])
        if not is_finite(data, dtype):
            self.fail(name, f"has a scale too large for {dtype}")
        if dtype == "F32":
            dtype, (data,) = narrow(data)
        return dtype, data

    def refuse(self, name, first, on_grid, magnitudes):
        """on_grid [rows, K/16], magnitudes [rows, K] of the rows from `first` on."""
        spec = self.specs[name]
        other = other_group(magnitudes)
        if other:
            self.fail(name, f"is ternary in groups of {other}; this version packs multiples of "
                      f"{GROUP_STEP}, as its kernels take them: {what_fits(spec)}")
        row, run = np.unravel_index(int(np.argmin(on_grid)), on_grid.shape)
        start = int(run) * GROUP_STEP // USUAL_GROUP * USUAL_GROUP
        found = np.unique(magnitudes[row, start : start + USUAL_GROUP])
        raise ExportError(
            f"{self.checkpoint.folder}: {name}, row {first + row}, columns {start} to "
            f"{start + USUAL_GROUP - 1}: {len(found)} different magnitudes "
            f"({found[0]:g} to {found[-1]:g}), expected only 0 and one other; this is an ordinary "
            "full-precision checkpoint, and only ternary or binary ones can be packed"
        )

    def fail(self, name, message):
        raise ExportError(f"{self.checkpoint.folder}: {name} {message}")


def refuse_code_3(folder, name, codes):
    """Raises ExportError where codes u8 [N, K] of two bits are not ternary."""
    if codes.max(initial=0) == 3:
        row, column = np.unravel_index(int(np.argmax(codes == 3)), codes.shape)
        raise ExportError(
            f"{folder}: {name} holds code 3 at row {row}, column {column}, expected 0, 1 or 2 in a "
            "ternary tensor (bias = -scale); the file is damaged"
        )


def other_group(magnitudes):
    """The widest group, of those that the kernels do not take, that [rows, K] keeps to, or None.

    It need not divide a row, whose last group is narrower then.
    """
    for group in range(magnitudes.shape[1], FEWEST_TOLD - 1, -1):
        if group % GROUP_STEP and keeps_to(magnitudes[:1], group) and keeps_to(magnitudes, group):
            return group
    return None


def keeps_to(magnitudes, group):
    """Whether every group of a row [rows, K] holds only 0 and one other."""
    starts = np.arange(0, magnitudes.shape[1], group)
    widths = np.diff(starts, append=magnitudes.shape[1])
    top = np.repeat(np.maximum.reduceat(magnitudes, starts, axis=1), widths, axis=1)
    return bool(((magnitudes == top) | (magnitudes == 0)).all())
