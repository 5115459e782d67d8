"""The text encoder as HQQ quantises it to 4 bits, a torch pickle: module -> {W_q, meta}.

A weight's values run in groups of 64 inputs; W_q u8 has those of the first half of the groups in
its high nibbles, of the second half in the low ones (4bit_u8), and w = (code - zero) * scale.
The others, the embedding among them, are ordinary tensors.
"""

import math

import numpy as np

from export.errors import ExportError
from export.layouts.floats import dense_storage, pack_dense
from export.packing.formats import GROUP_STEP, STORAGE_OF, Packed, Storage, narrow, pack_words
from export.packing.spec import FLOATS, Expected
from export.source.pickled import Pickled

META = {"nbits": 4, "axis": 1, "packing": "4bit_u8", "view_as_float": False,
        "quant_scale": False, "quant_zero": False}


class Hqq:
    name, files = "hqq", ("{folder}-hqq-4bit/qmodel.pt",)
    stands_alone = quantises = False

    def __init__(self, checkpoint, specs):
        self.checkpoint, self.specs = checkpoint, specs

    @staticmethod
    def open(place):
        return Pickled(place.files[0])

    @staticmethod
    def stored_bits(folder):
        return META["nbits"]

    def is_quantized(self, name):
        packed = part(name, "W_q") in self.checkpoint.entries
        return packed and len(self.specs[name].shape) == 2

    def expected(self):
        names = {}
        for name, spec in self.specs.items():
            if not self.is_quantized(name):
                names[name] = Expected(spec.shape)
                continue
            group, values = self.group(name), math.prod(spec.shape)
            names[part(name, "W_q")] = Expected((values // group // 2, group), ("U8",))
            for key in ("meta.scale", "meta.zero"):
                names[part(name, key)] = Expected((values // group, 1), FLOATS)
        return names

    def group(self, name):
        """Inputs that share a scale, when nothing in the weight's meta stands against it."""
        meta = {key: self.checkpoint.values.get(part(name, f"meta.{key}"), default)
                for key, default in META.items()}
        for key, want in META.items():
            if meta[key] != want:
                self.fail(name, f"has {key} {meta[key]!r}, expected {want!r}")
        shape = self.checkpoint.values.get(part(name, "meta.shape"))
        shape = tuple(shape) if isinstance(shape, list | tuple) else ()
        group = self.checkpoint.values.get(part(name, "meta.group_size"))
        rows, columns = self.specs[name].shape
        if shape != (rows, columns):
            self.fail(name, f"has the shape {list(shape)}, expected {[rows, columns]}")
        if type(group) is not int or group < 1 or group % GROUP_STEP or columns % group:
            self.fail(name, f"has group_size {group!r}, expected a multiple of {GROUP_STEP} that "
                      f"divides its {columns} inputs")
        return group

    def storage(self, name):
        if not self.is_quantized(name):
            return dense_storage(self.checkpoint, name, self.specs[name])
        return self.storage_of(name, self.grid(name)[0])

    def storage_of(self, name, dtype):
        return Storage("affine4", self.specs[name].shape, self.group(name), STORAGE_OF[dtype])

    def grid(self, name):
        """dtype, and scales and biases [out, in/group] in it, exactly: bias = -zero * scale.

        A product of two 16-bit floats has at most 22 bits, so f32 holds it.
        """
        scale, zero = (self.checkpoint.read_finite(part(name, key)).float32()
                       for key in ("meta.scale", "meta.zero"))
        dtype, (scales, biases) = narrow(scale, -zero * scale)
        groups = (self.specs[name].shape[0], -1)
        return dtype, scales.reshape(groups), biases.reshape(groups)

    def pack(self, name):
        if not self.is_quantized(name):
            return pack_dense(self.checkpoint, name, self.specs[name])
        dtype, scales, biases = self.grid(name)
        packed = self.checkpoint.read(part(name, "W_q")).data
        codes = np.concatenate([packed >> 4, packed & 15]).reshape(self.specs[name].shape)
        words = pack_words(codes, 4)
        return Packed(
            self.storage_of(name, dtype), {"codes": words, "scales": scales, "biases": biases}
        )

    def fail(self, name, message):
        raise ExportError(f"{self.checkpoint.folder}: {name} {message}; take the model's MLX or "
                          "unpacked text encoder")


def part(name, key):
    return name.removesuffix("weight") + key
