"""The GemLite pack that ComfyUI loads: a single file, ternary in groups of any width that divides.

For every low-bit linear M.codes2b u8 [out, in/4], the first of four codes in the lowest bits, and
M.scale [out, groups], with w = scale * (code - 1); export/source/codes2b.py reads the file. A
linear that it holds whole is read as in the unpacked layout.
"""

import numpy as np

from export.layouts.groups import share_scales, stored_width, what_fits
from export.layouts.mlx_grid import sibling
from export.layouts.native import Native
from export.layouts.unpacked import refuse_code_3
from export.packing.formats import GROUP_STEP, unpack_words
from export.packing.spec import FLOATS, LOWBIT, Expected
from export.source.codes2b import CODES, SCALE


class Codes2b(Native):
    name = "codes2b"

    def is_packed(self, name):
        """Whether a low-bit weight is packed, or missing in a file whose other weights are."""
        return self.specs[name].role == LOWBIT and name not in self.checkpoint.entries

    def expected(self):
        names = {}
        for name, spec in self.specs.items():
            if not self.is_packed(name):
                names[name] = Expected(spec.shape)
                continue
            rows, columns = spec.shape
            scale = self.checkpoint.entries.get(sibling(name, SCALE))
            groups = 1  # where the completeness check will name the tensors
            if scale and len(scale.shape) == 2 and columns % scale.shape[1] == 0:
                groups = scale.shape[1]
                self.check_group(name, columns // groups)
            names[sibling(name, CODES)] = Expected((rows, columns // 4), ("U8",))
            names[sibling(name, SCALE)] = Expected((rows, groups), FLOATS)
        return names

    def pack(self, name):
        if not self.is_packed(name):
            return super().pack(name)
        tensor = self.checkpoint.read_finite(sibling(name, SCALE))
        spec = self.specs[name]
        group, (scale,) = share_scales(
            [tensor.float32()], spec.shape[1] // tensor.data.shape[1], spec)
        words = np.ascontiguousarray(self.checkpoint.read(sibling(name, CODES)).data).view("<u4")
        codes = unpack_words(words, 2)
        refuse_code_3(self.checkpoint.folder, name, codes)
        return self.store(name, codes, scale, group, tensor.dtype)

    def check_group(self, name, own):
        if not stored_width(own, self.specs[name]):
            self.fail(name, f"has a scale for every {own} inputs, expected a multiple of "
                      f"{GROUP_STEP}, as the kernels take them: {what_fits(self.specs[name])}")
