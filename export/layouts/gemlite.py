"""The GemLite transformer, int2 (ternary) or int1 (binary), a torch pickle.

For every low-bit linear: W_q u8 [in*bits/8, out], packed along the inputs with the first in the
lowest bits; scales and zeros f32 [in/group, out]; orig_shape [out, in]; and metadata, whose
W_group_mode says what the zeros are:

    3  w = (code - zero) * scale        4  w = code * scale + zero
"""

import numpy as np

from export.errors import ExportError
from export.layouts.groups import stored_width
from export.layouts.mlx_grid import Grid, sibling
from export.layouts.mlx_packed import BITS, MlxPacked
from export.packing.formats import GROUP_STEP, USUAL_GROUP, narrow
from export.packing.spec import FLOATS, LOWBIT, Expected
from export.source.pickled import Pickled
from export.source.safetensors import Tensor

METADATA = (
    "scaled_activations", "W_nbits", "group_size", "unpack_mask", "elements_per_sample",
    "input_dtype", "output_dtype", "acc_dtype", "meta_dtype", "channel_scale_mode", "W_group_mode",
    "data_contiguous",
)
ZERO_POINT, BIAS = 3, 4  # W_group_mode


class Gemlite(MlxPacked):
    name = "gemlite"
    files = ("{folder}-gemlite-int[12]/state_dict.pt",)

    @staticmethod
    def open(place):
        return Pickled(place.files[0])

    def find_grids(self):
        """Each weight's own group, with the bits of the first; `check` holds the others to them."""
        lowbit = [name for name, spec in self.specs.items() if spec.role == LOWBIT]
        bits = self.find_bits(lowbit[0])
        return {name: Grid(bits, self.find_group(name)) for name in lowbit}

    def find_bits(self, name):
        if not self.has_metadata(name):
            return 2  # the completeness check will name the tensors
        bits = self.metadata(name)["W_nbits"]
        if bits not in BITS:
            self.fail(name, f"holds {bits} bits a weight, expected 1 (binary) or 2 (ternary)")
        return bits

    def find_group(self, name):
        """The group that the scales' shape gives; `check` holds what is declared to it."""
        scales, spec = self.checkpoint.entries.get(sibling(name, "scales")), self.specs[name]
        runs = scales.shape[0] if scales and scales.shape else 0
        if not runs or spec.shape[1] % runs:
            return USUAL_GROUP  # the completeness check will name the tensors
        group = spec.shape[1] // runs
        if not stored_width(group, spec):
            self.fail(name, f"has group_size {group}, expected a multiple of {GROUP_STEP} that "
                      f"divides {spec.shape[1]} inputs")
        return group

    def has_metadata(self, name):
        entry = self.checkpoint.entries.get(sibling(name, "metadata"))
        return entry is not None and (entry.shape, entry.dtype) == ((len(METADATA),), "I32")

    def expected(self):
        names = {}
        for name, spec in self.specs.items():
            if spec.role != LOWBIT:
                names[name] = Expected(spec.shape)
                continue
            rows, columns = spec.shape
            packed = Expected((columns * self.bits // 8, rows), ("U8",))
            group = Expected((columns // self.grids[name].group, rows), FLOATS)
            names |= {
                sibling(name, "W_q"): packed, sibling(name, "scales"): group,
                sibling(name, "zeros"): group,
                sibling(name, "metadata"): Expected((len(METADATA),), ("I32",)),
                sibling(name, "orig_shape"): Expected((2,), ("I32",)),
            }
            unused = self.checkpoint.entries.get(sibling(name, "meta_scale"))
            if unused:  # of channels, which `metadata` refuses to be scaled
                names[sibling(name, "meta_scale")] = Expected(unused.shape, (unused.dtype,))
        return names

    def metadata(self, name):
        values = self.checkpoint.read(sibling(name, "metadata")).data.tolist()
        return dict(zip(METADATA, values, strict=True))

    def check(self, name):
        """The metadata, when it says nothing that this layout does not read."""
        metadata = self.metadata(name)
        wanted = {"W_nbits": self.bits, "group_size": self.grids[name].group,
                  "channel_scale_mode": 0, "elements_per_sample": 8 // self.bits}
        for key, want in wanted.items():
            if metadata[key] != want:
                self.fail(name, f"has {key} {metadata[key]}, expected {want}")
        if metadata["W_group_mode"] not in (ZERO_POINT, BIAS):
            self.fail(name, f"has W_group_mode {metadata['W_group_mode']}, expected 3 or 4")
        shape = tuple(self.checkpoint.read(sibling(name, "orig_shape")).data.tolist())
        if shape != self.specs[name].shape:
            self.fail(name, f"has orig_shape {list(shape)}, expected {self.specs[name].shape}")
        return metadata

    def words(self, name):
        packed = self.checkpoint.read(sibling(name, "W_q")).data
        return np.ascontiguousarray(packed.T).view("<u4")

    def grid(self, name):
        """Scales and biases [out, in/group], in the narrowest type that holds both exactly."""
        mode = self.check(name)["W_group_mode"]
        scales, zeros = (
            np.ascontiguousarray(self.checkpoint.read_finite(sibling(name, part)).float32().T)
            for part in ("scales", "zeros")
        )
        biases = -zeros * scales if mode == ZERO_POINT else zeros
        dtype, (scales, biases) = narrow(scales, biases)
        return Tensor(name, dtype, scales), Tensor(name, dtype, biases)

    def fail(self, name, message):
        raise ExportError(f"{self.checkpoint.folder}: {name} {message}")
