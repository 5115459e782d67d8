"""The MLX-packed transformer, 2-bit (ternary) or 1-bit (binary), in groups of 128 as a rule.

For every low-bit linear: weight u32 [out, in*bits/32], scales and biases [out, in/group], with
w = scale*code + bias. Ternary and binary checkpoints have a bias that follows from the scale; where
that holds exactly the bias is dropped, elsewhere the tensor stays general (affine). A low-bit
linear that is stored whole is read as in the unpacked layout.
"""

import numpy as np

from export.errors import ExportError
from export.layouts.groups import share_scales
from export.layouts.mlx_grid import Declared, Grid, read_grid, sibling
from export.layouts.unpacked import Unpacked, refuse_code_3
from export.packing.formats import (
    STORAGE_OF,
    USUAL_GROUP,
    Packed,
    Storage,
    narrow,
    pack_trits,
    unpack_words,
)
from export.packing.spec import LOWBIT, Expected
from export.source.configuration import Configuration
from export.source.safetensors import Checkpoint, Tensor, widen

BITS = (1, 2)


class MlxPacked:
    name, files = "mlx-packed", ("{folder}-packed-mflux/*.safetensors*",)
    stands_alone = quantises = False

    def __init__(self, checkpoint, specs):
        self.checkpoint, self.specs = checkpoint, specs
        self.whole = Unpacked(checkpoint, specs)
        self.grids = self.find_grids()
        self.bits = next(iter(self.grids.values())).bits if self.grids else None

    @staticmethod
    def open(place):
        return Checkpoint(place.path)

    def find_grids(self):
        """name -> Grid of the packed weights."""
        self.declared = declared = find_declared(self.checkpoint.folder)
        grids = {}
        for name, spec in self.specs.items():
            if spec.role == LOWBIT and is_packed(self.checkpoint, name):
                grids[name] = read_grid(self.checkpoint, name, spec, declared, self.check_bits)
        if grids:
            check_shape(self.checkpoint, next(iter(grids)), self.specs)
        stated = Grid(declared.bits if declared.bits in BITS else 2, USUAL_GROUP)
        usual = next(filter(None, grids.values()), stated)  # for what the check will name
        return {name: grid or usual for name, grid in grids.items()}

    def check_bits(self, name, bits, declared):
        if bits in BITS and declared in (None, bits):
            return
        also = f" and {self.declared.config.path.name} says {declared}" if declared else ""
        raise ExportError(
            f"{self.checkpoint.folder}: {name} holds {bits} bits a weight{also}, expected "
            "1 (binary) or 2 (ternary), the same in both"
        )

    def expected(self):
        return expected_names(self.specs, self.grids)

    def storage(self, name):
        return self.form(name)[0] if name in self.grids else self.whole.storage(name)

    def form(self, name):
        """Storage of a packed weight, and its parts but for the codes."""
        scales, biases = self.grid(name)
        grid = self.grids[name]
        kind, parts = {1: "binary", 2: "ternary"}[grid.bits], {"scales": scales.data}
        if not has_derived_bias(scales, biases, kind):
            kind, parts["biases"] = f"affine{grid.bits}", biases.data
        group, shared = share_scales(parts.values(), grid.group, self.specs[name])
        parts = dict(zip(parts, shared, strict=True))
        return Storage(kind, self.specs[name].shape, group, STORAGE_OF[scales.dtype]), parts

    def pack(self, name):
        if name not in self.grids:
            return self.whole.pack(name)
        storage, parts = self.form(name)
        words = self.words(name)
        if storage.kind != "ternary":
            return Packed(storage, {"codes": words} | parts)
        codes = unpack_words(words, 2)
        refuse_code_3(self.checkpoint.folder, name, codes)
        return Packed(storage, {"codes": pack_trits(codes)} | parts)

    def words(self, name):
        """Codes u32 [out, in*bits/32], the first in the lowest bits."""
        return self.checkpoint.read(name).data

    def grid(self, name):
        """Scales and biases, Tensors [out, in/group]."""
        return read_scales(self.checkpoint, name)


def is_packed(checkpoint, name):
    """Whether a low-bit weight is packed, or missing in a file whose other weights are."""
    entry = checkpoint.entries.get(name)
    return entry is None or entry.dtype not in STORAGE_OF


def expected_names(specs, grids):
    """source name -> Expected: three tensors for a weight that has a Grid, one for any other."""
    names = {}
    for name, spec in specs.items():
        grid = grids.get(name)
        if grid is None:
            names[name] = Expected(spec.shape)
            continue
        rows, columns = spec.shape
        names[name] = Expected((rows, columns * grid.bits // 32), ("U32",))
        for part in ("scales", "biases"):
            names[sibling(name, part)] = Expected((rows, columns // grid.group))
    return names


def read_scales(checkpoint, name):
    """(scales, biases) of a weight, which must be finite and of one dtype; F32 ones as narrow as

    holds them exactly.
    """
    scales = checkpoint.read_finite(sibling(name, "scales"))
    biases = checkpoint.read_finite(sibling(name, "biases"))
    if scales.dtype != biases.dtype:
        raise ExportError(
            f"{checkpoint.folder}: {biases.name} has dtype {biases.dtype}, expected "
            f"{scales.dtype} as {scales.name} has"
        )
    if scales.dtype == "F32":
        dtype, (scale, bias) = narrow(scales.data, biases.data)
        scales, biases = Tensor(scales.name, dtype, scale), Tensor(biases.name, dtype, bias)
    return scales, biases


def has_derived_bias(scales, biases, kind):
    """Whether bias = -scale (ternary) or -scale/2 (binary) in every group, exactly."""
    scale = widen(scales.data, scales.dtype).astype(np.float64)
    bias = widen(biases.data, biases.dtype).astype(np.float64)
    return bool(np.all(bias == (-scale if kind == "ternary" else -scale / 2)))


def find_declared(folder):
    """What quantization_config.json says, or, without one, config.json."""
    config = Configuration.read_optional(folder / "quantization_config.json")
    return Declared(config) if config.values else Declared.beside(folder)


def check_shape(checkpoint, name, specs):
    """Refuses a weight that is not packed along its inputs, unless a part of it is missing."""
    entry, scales = checkpoint.entries.get(name), checkpoint.entries.get(sibling(name, "scales"))
    if entry is None or scales is None:
        return
    rows, columns = specs[name].shape
    fits = len(entry.shape) == 2 and entry.shape[0] == rows and 32 * entry.shape[1] % columns == 0
    if entry.dtype != "U32" or not fits:
        raise ExportError(
            f"{checkpoint.folder}: {name} is {entry.dtype} {list(entry.shape)}, expected U32 "
            f"[{rows}, {columns}*bits/32] for {columns} inputs"
        )
