"""The MLX-packed Bonsai transformer, 2-bit (ternary) or 1-bit (binary), in groups of 128.

For every low-bit linear: weight u32 [out, in*bits/32], scales and biases [out, in/128], with
w = scale*code + bias. Ternary and binary checkpoints have a bias that follows from the scale; where
that holds exactly the bias is dropped, elsewhere the tensor stays general (affine).
"""

import numpy as np

from export.checkpoint import Checkpoint, widen
from export.configuration import Configuration
from export.errors import ExportError
from export.layouts.floats import dense_storage, pack_dense
from export.pack import STORAGE_OF, Packed, Storage, pack_trits, unpack_words
from export.spec import LOWBIT, Expected

GROUP = 128
BITS = (1, 2)


class MlxPacked:
    name, folder = "mlx-packed", "transformer-packed-mflux"
    files = (f"{folder}/*.safetensors*",)
    stands_alone = False

    def __init__(self, checkpoint, specs):
        self.checkpoint, self.specs = checkpoint, specs
        self.bits = self.find_bits()

    @staticmethod
    def open(place, call):
        return Checkpoint(place.path)

    def find_bits(self):
        return find_bits(self.checkpoint, self.specs)

    def expected(self):
        return expected_names(self.specs, LOWBIT, self.bits, GROUP)

    def storage(self, name):
        spec = self.specs[name]
        if spec.role != LOWBIT:
            return dense_storage(self.checkpoint, name, spec)
        return self.storage_of(name, *self.grid(name))

    def storage_of(self, name, scales, biases):
        derived = {1: "binary", 2: "ternary"}[self.bits]
        kind = derived if has_derived_bias(scales, biases, derived) else f"affine{self.bits}"
        return Storage(kind, self.specs[name].shape, GROUP, STORAGE_OF[scales.dtype])

    def pack(self, name):
        spec = self.specs[name]
        if spec.role != LOWBIT:
            return pack_dense(self.checkpoint, name, spec)
        scales, biases = self.grid(name)
        storage = self.storage_of(name, scales, biases)
        words = self.words(name)
        if storage.kind == "ternary":
            codes = unpack_words(words, 2)
            self.refuse_code_3(name, codes)
            return Packed(storage, {"codes": pack_trits(codes), "scales": scales.data})
        parts = {"codes": words, "scales": scales.data}
        if storage.kind != "binary":
            parts["biases"] = biases.data
        return Packed(storage, parts)

    def words(self, name):
        """Codes u32 [out, in*bits/32], the first in the lowest bits."""
        return self.checkpoint.read(name).data

    def grid(self, name):
        """Scales and biases, Tensors [out, in/128]."""
        return read_scales(self.checkpoint, name)

    def refuse_code_3(self, name, codes):
        if codes.max(initial=0) == 3:
            row, column = np.unravel_index(int(np.argmax(codes == 3)), codes.shape)
            raise ExportError(
                f"{self.checkpoint.folder}: {name} holds code 3 at row {row}, column {column}, "
                "expected 0, 1 or 2 in a ternary tensor (bias = -scale); the file is damaged"
            )


def sibling(name, part):
    return name.removesuffix("weight") + part


def expected_names(specs, role, bits, group):
    """source name -> Expected: three tensors for each weight of `role`, one for the others."""
    names = {}
    for name, spec in specs.items():
        if spec.role != role:
            names[name] = Expected(spec.shape)
            continue
        rows, columns = spec.shape
        names[name] = Expected((rows, columns * bits // 32), ("U32",))
        for part in ("scales", "biases"):
            names[sibling(name, part)] = Expected((rows, columns // group))
    return names


def read_scales(checkpoint, name):
    """(scales, biases) of a weight, which must be finite and of one dtype."""
    scales = checkpoint.read_finite(sibling(name, "scales"))
    biases = checkpoint.read_finite(sibling(name, "biases"))
    if scales.dtype != biases.dtype:
        raise ExportError(
            f"{checkpoint.folder}: {biases.name} has dtype {biases.dtype}, expected "
            f"{scales.dtype} as {scales.name} has"
        )
    return scales, biases


def has_derived_bias(scales, biases, kind):
    """Whether bias = -scale (ternary) or -scale/2 (binary) in every group, exactly."""
    scale = widen(scales.data, scales.dtype).astype(np.float64)
    bias = widen(biases.data, biases.dtype).astype(np.float64)
    return bool(np.all(bias == (-scale if kind == "ternary" else -scale / 2)))


def find_bits(checkpoint, specs):
    """Bits per code from the shapes, which quantization_config.json must agree with."""
    config = Configuration.read_optional(checkpoint.folder / "quantization_config.json")
    group = config.integer("group_size", config.integer("groupSize", None))
    if group not in (None, GROUP):
        config.fail(f"the group size is {group}, expected {GROUP}")
    lowbit = {name: spec for name, spec in specs.items() if spec.role == LOWBIT}
    name, spec = next(iter(lowbit.items()))
    entry, scales = checkpoint.entries.get(name), checkpoint.entries.get(sibling(name, "scales"))
    declared = config.integer("bits", config.integer("nbits", None))
    if entry is None or scales is None:
        return declared if declared in BITS else 2  # the completeness check will name the tensors
    rows, columns = spec.shape
    fits = len(entry.shape) == 2 and entry.shape[0] == rows and 32 * entry.shape[1] % columns == 0
    if entry.dtype != "U32" or not fits:
        raise ExportError(
            f"{checkpoint.folder}: {name} is {entry.dtype} {list(entry.shape)}, expected U32 "
            f"[{rows}, {columns}*bits/32] for {columns} inputs"
        )
    bits = 32 * entry.shape[1] // columns
    if bits not in BITS or declared not in (None, bits):
        says = f" and {config.path.name} says {declared}" if declared else ""
        raise ExportError(
            f"{checkpoint.folder}: {name} holds {bits} bits a weight{says}, expected "
            "1 (binary) or 2 (ternary), the same in both"
        )
    groups = scales.shape[1] if len(scales.shape) == 2 and scales.shape[0] == rows else 0
    if groups and columns / groups != GROUP:
        raise ExportError(
            f"{checkpoint.folder}: the scales of {name} give a group size of {columns / groups:g}, "
            f"expected {GROUP}"
        )
    return bits
