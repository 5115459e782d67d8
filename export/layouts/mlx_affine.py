"""An MLX-quantised text encoder, in 1, 2, 4 or 8 bits: passed through as it is.

Quantised modules have weight u32 [out, in*bits/32], scales and biases [out, in/group], with
w = scale*code + bias; the others (norms, and what MLX left alone) are ordinary tensors. Bits and
group may differ from module to module. A linear that is ternary or binary, its biases what follows
from its scales in every group, is stored without them, a ternary one in base 3.
"""

from dataclasses import replace

from export.errors import ExportError
from export.layouts.floats import dense_storage, pack_dense
from export.layouts.mlx_grid import Declared, Grid, read_grid, sibling
from export.layouts.mlx_packed import expected_names, has_derived_bias, read_scales
from export.packing.formats import STORAGE_OF, Packed, Storage, pack_trits, unpack_words
from export.packing.spec import LINEAR
from export.source.safetensors import Checkpoint

BITS = (1, 2, 4, 8)
LOWBIT = {1: "binary", 2: "ternary"}


class MlxAffine:
    name = "mlx-affine"
    files = ("{folder}-mlx-4bit/*.safetensors*", "{folder}-mlx-*bit/*.safetensors*")
    stands_alone = quantises = False

    def __init__(self, checkpoint, specs):
        self.checkpoint, self.specs = checkpoint, specs
        self.declared = Declared.beside(checkpoint.folder)
        self.grids = self.find_grids()

    @staticmethod
    def open(place):
        return Checkpoint(place.path)

    @staticmethod
    def stored_bits(folder):
        """The bits that config.json gives for all modules."""
        return Declared.beside(folder).bits or 4

    def find_grids(self):
        """name -> Grid of the quantised weights."""
        grids = {}
        for name, spec in self.specs.items():
            if spec.is_linear and not self.is_whole(name):
                grids[name] = read_grid(self.checkpoint, name, spec, self.declared, self.check_bits)
        usual = next(filter(None, grids.values()), Grid(self.declared.bits or 4, 64))
        return {name: grid or usual for name, grid in grids.items()}

    def is_whole(self, name):
        """Whether MLX left a weight as it was."""
        entry = self.checkpoint.entries.get(name)
        if entry is None or entry.dtype not in STORAGE_OF:
            return False
        if isinstance(self.declared.own(name), dict):
            bits = self.declared.of(name)[0]
            raise ExportError(
                f"{self.checkpoint.folder}: {name} holds {entry.dtype}, "
                f"{self.declared.config.path.name} says {bits} bits; take both files from one place"
            )
        return True

    def check_bits(self, name, bits, declared):
        where = f"{self.checkpoint.folder}: {name} holds {bits} bits"
        if declared not in (None, bits):
            raise ExportError(
                f"{where}, {self.declared.config.path.name} says {declared}; take both files from "
                "one place"
            )
        if bits not in BITS:
            raise ExportError(
                f"{where}, expected 1, 2, 4 or 8; take the encoder in 4 or 8 bits, or in bf16"
            )

    def expected(self):
        return expected_names(self.specs, self.grids)

    def storage(self, name):
        if name not in self.grids:
            return dense_storage(self.checkpoint, name, self.specs[name])
        dtype = self.checkpoint.entries[sibling(name, "scales")].dtype
        if dtype == "F32" or self.may_be_lowbit(name):  # which the values tell
            return self.storage_of(name, *read_scales(self.checkpoint, name))
        return self.affine(name, dtype)

    def affine(self, name, dtype):
        grid, shape = self.grids[name], self.specs[name].shape
        return Storage(f"affine{grid.bits}", shape, grid.group, STORAGE_OF[dtype])

    def may_be_lowbit(self, name):
        """Rows that are gathered on the CPU stay affine."""
        return self.grids[name].bits in LOWBIT and self.specs[name].role == LINEAR

    def storage_of(self, name, scales, biases):
        """The storage of a quantised weight by its scales and biases, and, of 2 bits, its codes."""
        affine = self.affine(name, scales.dtype)
        kind = LOWBIT[self.grids[name].bits] if self.may_be_lowbit(name) else None
        if kind is None or not has_derived_bias(scales, biases, kind):
            return affine
        if kind == "ternary" and (unpack_words(self.checkpoint.read(name).data, 2) == 3).any():
            return affine
        return replace(affine, kind=kind)

    def pack(self, name):
        if name not in self.grids:
            return pack_dense(self.checkpoint, name, self.specs[name])
        scales, biases = read_scales(self.checkpoint, name)
        codes = self.checkpoint.read(name).data
        storage = self.storage_of(name, scales, biases)
        parts = {"codes": codes, "scales": scales.data, "biases": biases.data}
        if storage.kind in LOWBIT.values():
            del parts["biases"]
        if storage.kind == "ternary":
            parts["codes"] = pack_trits(unpack_words(codes, 2))
        return Packed(storage, parts)
