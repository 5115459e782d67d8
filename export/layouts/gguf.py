"""A GGUF transformer with the original names: Q1_0 (binary) or Q2_0 (ternary) weights.

Q1_0 is +d or -d in blocks of 128. Q2_0 is (code - 1) * d in blocks of 64 or 128; blocks of 64 that
share their scale in pairs are stored in groups of 128. Both are exact, with their f16 scales.
"""

import numpy as np

from export.errors import ExportError
from export.gguf import Gguf as GgufFile
from export.gguf import split_blocks
from export.layouts.native import Native, one_file, with_diffusers_names
from export.pack import Packed, Storage, pack_trits, unpack_words
from export.spec import FLOATS, LOWBIT, Expected

GROUP = 128


class Gguf(Native):
    name, files = "gguf", ("*.gguf", "transformer/*.gguf")

    @staticmethod
    def open(place, call):
        return with_diffusers_names(GgufFile(one_file(place)), call)

    def expected(self):
        lowbit = (*FLOATS, "Q1_0", "Q2_0")
        return {
            name: Expected(spec.shape, lowbit if spec.role == LOWBIT else FLOATS)
            for name, spec in self.specs.items()
        }

    def pack(self, name):
        if self.checkpoint.entries[name].dtype in FLOATS:
            return super().pack(name)
        tensor = self.checkpoint.read(name)
        scales, codes = split_blocks(tensor.data)
        self.check_finite(name, scales)
        words = codes.reshape(len(codes), -1).view("<u4")
        if tensor.dtype == "Q1_0":
            # scale*(code - 0.5): a binary scale is twice the magnitude.
            doubled = self.narrow(name, 2 * scales.astype(np.float32), "F16")
            storage = Storage("binary", self.specs[name].shape, GROUP, "f16")
            return Packed(storage, {"codes": words, "scales": doubled})
        return self.pack_two_bits(name, words, scales)

    def pack_two_bits(self, name, words, scales):
        rows, columns = self.specs[name].shape
        group = columns // scales.shape[1]
        if group < GROUP and (scales[:, ::2] == scales[:, 1::2]).all():
            group, scales = GROUP, np.ascontiguousarray(scales[:, ::2])
        codes = unpack_words(words, 2)
        if codes.max() < 3:
            storage = Storage("ternary", (rows, columns), group, "f16")
            return Packed(storage, {"codes": pack_trits(codes), "scales": scales})
        storage = Storage("affine2", (rows, columns), group, "f16")
        return Packed(storage, {"codes": words, "scales": scales, "biases": -scales})

    def check_finite(self, name, scales):
        if not np.isfinite(scales).all():
            raise ExportError(
                f"{self.checkpoint.folder}: {name} has a scale that is infinite or not a number; "
                "the file is damaged"
            )
