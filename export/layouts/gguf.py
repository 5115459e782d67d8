"""A GGUF transformer: Q1_0 (binary), Q2_0, PQ2_0, TQ1_0, TQ2_0 or PTQ1_0 (ternary) weights.

Binary is +d or -d in blocks of 128, ternary (code - 1) * d in blocks of 64, 128 or 256, and
neighbours of one scale are one group. All are exact, with their f16 scales.
"""

import numpy as np

from export.errors import ExportError
from export.layouts.groups import share_scales
from export.layouts.native import Native, one_file
from export.packing.formats import (
    USUAL_GROUP,
    Packed,
    Storage,
    pack_trits,
    pack_words,
)
from export.packing.spec import FLOATS, LOWBIT, Expected
from export.source.gguf import Gguf as GgufFile
from export.source.gguf_types import LOWBIT as TYPES
from export.source.gguf_types import TAKE, TERNARY, split_scales, split_ternary, why_unread

GROUP = USUAL_GROUP  # of Q1_0 and its kin
# Of an ordinary model rounded to three values by the largest weight of each block 80 to 90 of a
# hundred become zeros; a model that is trained with three values has about a third to a half.
MOST_ZEROS = 0.75
SAMPLED_ROWS = 4  # of each tensor


class Gguf(Native):
    name = "gguf"
    files: tuple[str, ...] = ("*.gguf", "{folder}/*.gguf")

    @staticmethod
    def open(place):
        return GgufFile(one_file(place))

    def expected(self):
        names = {}
        for name, spec in self.specs.items():
            dtypes = (*FLOATS, *TYPES) if spec.role == LOWBIT else FLOATS
            entry = self.checkpoint.entries.get(name)
            if entry and entry.dtype not in dtypes:
                self.fail(name, why_unread(entry.dtype))
            names[name] = Expected(spec.shape, dtypes)
        self.check_trained()
        return names

    def pack(self, name):
        if self.checkpoint.entries[name].dtype in FLOATS:
            return super().pack(name)
        tensor = self.checkpoint.read(name)
        if tensor.dtype != "Q1_0":
            return self.pack_ternary(name, *split_ternary(tensor.dtype, tensor.data))
        scales, codes = split_scales(tensor.data)
        self.check_finite(name, scales)
        spec = self.specs[name]
        group, (scales,) = share_scales([scales], GROUP, spec)
        # scale*(code - 0.5): a binary scale is twice the magnitude.
        doubled = self.narrow(name, 2 * scales.astype(np.float32), "F16")[1]
        storage = Storage("binary", spec.shape, group, "f16")
        words = codes.reshape(len(codes), -1).view("<u4")
        return Packed(storage, {"codes": words, "scales": doubled})

    def pack_ternary(self, name, scales, codes):
        self.check_finite(name, scales)
        rows, columns = self.specs[name].shape
        group = columns // scales.shape[1]
        if group > GROUP:
            self.check_whole(name, codes, group)
        group, (scales,) = share_scales([scales], group, self.specs[name])
        if codes.max() < 3:
            storage = Storage("ternary", (rows, columns), group, "f16")
            return Packed(storage, {"codes": pack_trits(codes), "scales": scales})
        storage = Storage("affine2", (rows, columns), group, "f16")
        words = pack_words(codes, 2)
        return Packed(storage, {"codes": words, "scales": scales, "biases": -scales})

    def check_trained(self):
        """Refuses ternary blocks into which a model was rounded that was not trained for them.

        They are mostly zeros, and the scales, each its block's largest weight, all differ. A
        trained model of so many zeros may have a scale for each row.
        """
        zeros, differ, told = [], [], ""
        for name in self.specs:
            entry = self.checkpoint.entries.get(name)
            if entry and entry.dtype in TERNARY and len(entry.shape) == 2:
                told = told or f"{name} and others are {entry.dtype}"
                tensor = self.checkpoint.read(name, 0, SAMPLED_ROWS)
                scales, codes = split_ternary(tensor.dtype, tensor.data)
                zeros.append((codes == 1).mean())
                differ.append((scales[:, 1:] != scales[:, :-1]).reshape(-1))
        if not zeros or np.mean(zeros) <= MOST_ZEROS or not is_most(np.concatenate(differ)):
            return
        raise ExportError(
            f"{self.checkpoint.folder}: {told}, and {np.mean(zeros):.0%} of their weights are "
            "zero: an ordinary model rounded to three values, which was not trained for that, so "
            f"its pictures are noise; {TAKE}"
        )

    def check_whole(self, name, codes, group):
        """Refuses blocks of 256 into which a model with a scale for every 128 was rounded.

        Where one of two scales is less than half of the other, its weights became zeros: 128 in a
        row, which a model of such blocks has not.
        """
        halves = (codes != 1).reshape(len(codes), -1, 2, group // 2).any(axis=-1)
        rounded = halves[..., 0] != halves[..., 1]
        if rounded.any():
            row, block = np.argwhere(rounded)[0]
            kind = self.checkpoint.entries[name].dtype
            self.fail(name, (
                f"is {kind}, which has one scale for {group} inputs, and half of block {block} of "
                f"row {row} is zero: the file was rounded from a model with a scale for every "
                f"{group // 2}; take a Q2_0, PQ2_0 or PTQ1_0 file, or another layout"
            ))

    def check_finite(self, name, scales):
        if not np.isfinite(scales).all():
            self.fail(name, "has a scale that is infinite or not a number; the file is damaged")

    def fail(self, name, message):
        raise ExportError(f"{self.checkpoint.folder}: {name} {message}")


def is_most(flags):
    return flags.size > 0 and flags.mean() > 0.5
