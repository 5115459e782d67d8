"""A full-precision part whose matrices and kernels are stored in 16 bits, where f32 is no gain.

What 16 bits hold exactly is kept so, and vectors are kept exactly in any case; any other f32 tensor
is rounded to f16. Nothing is stored as a subnormal, for which a GPU may put zero: a smaller value
becomes the smallest normal one or zero, whichever is nearer. A tensor beyond f16's range stays f32.
"""

from dataclasses import replace

import numpy as np

from export.layouts.floats import Floats
from export.packing.formats import SMALLEST_F16, Packed
from export.packing.spec import VECTOR

LARGEST_F16 = np.float32(65504)


class Halves(Floats):
    def storage(self, name):
        is_wide = self.checkpoint.entries[name].dtype == "F32"
        return self.pack(name).storage if is_wide else super().storage(name)

    def pack(self, name):
        packed = super().pack(name)
        if packed.storage.kind != "f32" or self.specs[name].role == VECTOR:
            return packed
        values = packed.parts["data"]
        if np.abs(values).max(initial=0) > LARGEST_F16:
            return packed
        return Packed(replace(packed.storage, kind="f16"), {"data": round_f16(values)})


def round_f16(values):
    """f32 within f16's range -> the nearest f16 that is normal or zero."""
    small = np.abs(values) < SMALLEST_F16
    edge = np.where(np.abs(values) < SMALLEST_F16 / 2, 0, np.sign(values) * SMALLEST_F16)
    return np.where(small, edge, values).astype("<f2")
