"""Full-precision tensors: kept exactly, or, for linear weights, quantised to 4 or 8 bits here.

Kept exactly is F32 too where a narrower float holds every value of the tensor.
"""

import numpy as np

from export.errors import ExportError
from export.packing.formats import STORAGE_OF, Packed, Storage, narrow, pack_words, quantize_affine
from export.packing.spec import CONV, DEPTHWISE, Expected
from export.source.safetensors import Checkpoint

GROUP = 64
CHUNK_VALUES = 1 << 24  # quantise this many values at a time; the embedding alone has 4e8


class Floats:
    """A diffusers or transformers folder of bf16, f16 or f32 tensors."""

    name, files = "unpacked", ("{folder}/*.safetensors*",)
    stands_alone, quantises = False, True

    def __init__(self, checkpoint, specs, bits=16):
        self.checkpoint, self.specs, self.bits = checkpoint, specs, bits
        for name, spec in specs.items():
            if self.is_quantized(spec) and spec.shape[1] % GROUP:
                raise ExportError(
                    f"{checkpoint.folder}: {name} is {spec.shape[1]} wide, not a multiple of "
                    f"{GROUP}, so it has no {bits}-bit form; use --text-encoder-bits 16"
                )

    @staticmethod
    def open(place):
        return Checkpoint(place.path)

    @staticmethod
    def stored_bits(folder):
        return None

    def is_quantized(self, spec):
        return spec.is_linear and self.bits < 16

    def expected(self):
        return {name: Expected(spec.shape) for name, spec in self.specs.items()}

    def storage(self, name):
        spec = self.specs[name]
        if self.is_quantized(spec):
            return Storage(f"affine{self.bits}", spec.shape, GROUP, "bf16")
        return dense_storage(self.checkpoint, name, spec)

    def pack(self, name):
        if not self.is_quantized(self.specs[name]):
            return pack_dense(self.checkpoint, name, self.specs[name])
        rows, columns = self.specs[name].shape
        step = max(1, CHUNK_VALUES // columns)
        chunks = [self.quantize(name, row, row + step) for row in range(0, rows, step)]
        codes, scales, biases = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        return Packed(self.storage(name), {"codes": codes, "scales": scales, "biases": biases})

    def quantize(self, name, first, last):
        values = self.checkpoint.read_finite(name, first, last).float32()
        codes, scales, biases = quantize_affine(values, self.bits, GROUP)
        return pack_words(codes, self.bits), scales, biases


def dense_storage(checkpoint, name, spec):
    """The storage of a tensor that is kept exactly; convolutions become channels-last."""
    dtype = checkpoint.entries[name].dtype
    if dtype == "F32" or spec.plus:  # the values tell whether fewer bits hold them
        dtype = read_dense(checkpoint, name, spec)[0]
    return Storage(STORAGE_OF[dtype], channels_last(spec))


def channels_last(spec):
    if spec.role not in (CONV, DEPTHWISE):
        return spec.shape
    out_channels, in_channels, height, width = spec.shape
    if spec.role == DEPTHWISE:
        return (height, width, out_channels)
    return (out_channels, height, width, in_channels)


def pack_dense(checkpoint, name, spec):
    dtype, data = read_dense(checkpoint, name, spec)
    if spec.role == CONV:
        data = data.transpose(0, 2, 3, 1)
    if spec.role == DEPTHWISE:
        data = data[:, 0].transpose(1, 2, 0)
    storage = Storage(STORAGE_OF[dtype], channels_last(spec))
    return Packed(storage, {"data": np.ascontiguousarray(data)})


def read_dense(checkpoint, name, spec):
    """dtype and data of a tensor: as stored, or F32 in the narrowest type that holds it exactly.

    What its spec adds is added in F32.
    """
    tensor = checkpoint.read_finite(name)
    if tensor.dtype != "F32" and not spec.plus:
        return tensor.dtype, tensor.data
    values = tensor.float32() + np.float32(spec.plus) if spec.plus else tensor.data
    dtype, (data,) = narrow(values)
    return dtype, data
