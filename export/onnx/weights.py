"""The weights of one graph: every packed tensor in the form that its operators read.

A linear of few bits becomes the blocks of com.microsoft.MatMulNBits, w = scale * (code - zero):

    ternary  2 bits, codes 0, 1, 2, zero 1       binary   2 bits, codes 0 and 2, zero 1
    affineB  2, 4 or 8 bits, zero 1, 8 or 128, and what that leaves of each block, the rest
             bias + zero * scale, which is multiplied by the sum of the block's inputs

The zero stays a whole number, for onnxruntime's WebGPU backend takes no other, and its CPU one is
2.8 times as fast with it. Everything is as exact as the floats that hold it: scales that a 16-bit
float would round keep their linear in 32 bits.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper

from export.errors import ExportError
from export.packing.formats import (
    CODE_BITS,
    DTYPE_OF,
    FLOAT_BYTES,
    pack_words,
    unpack_trits,
    unpack_words,
)
from export.packing.spec import CONV
from export.source.safetensors import widen

F32, F16 = TensorProto.FLOAT, TensorProto.FLOAT16
LARGEST_HALF = 65504
ZERO = {2: 1, 4: 8, 8: 128}  # bits -> the code of the value zero
ASSUMED = (4, 8)  # where onnxruntime assumes the zero, so that none is stored
LARGEST_BLOCK = 128
CHUNK_VALUES = 1 << 24


class Value(NamedTuple):
    """A tensor of a graph."""

    name: str
    element: int  # of onnx.TensorProto


@dataclass(frozen=True)
class Blocks:
    """A linear [N, K] of few bits, or a table of rows: as MatMulNBits reads it."""

    codes: Value  # u8 [N, K / block, block * bits / 8]
    scales: Value  # [N, K / block]
    zeros: Value | None  # u8 [N, bytes], packed like the codes
    rest: Value | None  # f32 [K / block, N]; of a table [N, K / block]
    bits: int
    block: int
    shape: tuple[int, int]


class Weights:
    """Takes the tensors of a component as they pass by and writes them into `data`.

    half: 16-bit floats, but for vectors. tables: names of matrices whose rows are gathered; the
    other matrices are turned to [K, N], as MatMul reads them. self[name] is a Value or Blocks.
    """

    def __init__(self, data, half, tables=()):
        self.data, self.half, self.tables = data, half, tables
        self.initializers, self.forms = [], {}
        self.shapes = {}  # at the source

    def __getitem__(self, name):
        return self.forms[name]

    def take(self, name, spec, packed):
        self.shapes[name] = spec.shape
        is_float = packed.storage.kind in FLOAT_BYTES
        take = self.take_floats if is_float else self.take_blocks
        self.forms[name] = take(name, spec, packed)

    def take_floats(self, name, spec, packed):
        values, dtype = packed.parts["data"], DTYPE_OF[packed.storage.kind]
        if spec.role == CONV:
            values = values.transpose(0, 3, 1, 2)
        elif len(spec.shape) == 2 and name not in self.tables:
            values = values.T
        rows = max(1, CHUNK_VALUES // max(1, values[:1].size))
        pieces = [slice(at, at + rows) for at in range(0, len(values), rows)]
        chunks = (widen(values[piece], dtype) for piece in pieces)
        narrow = self.half and values.ndim > 1
        if narrow and all(np.abs(chunk).max() <= LARGEST_HALF for chunk in chunks):
            halves = (widen(values[piece], dtype).astype("<f2") for piece in pieces)
            return self.add(name, F16, values.shape, halves)
        wide = (widen(values[piece], dtype).astype("<f4") for piece in pieces)
        return self.add(name, F32, values.shape, wide)

    def take_blocks(self, name, spec, packed):
        bits, block, codes, scales, rest = split_blocks(packed)
        if self.half and is_exact_half(scales):
            scales = scales.astype("<f2")
        is_table = name in self.tables
        zeros = None
        if bits not in ASSUMED and not is_table:
            zeros = self.array(f"{name}.zeros", pack_zeros(scales.shape, bits))
        if rest is not None:
            rest = self.array(f"{name}.rest", rest if is_table else rest.T)
        return Blocks(
            codes=self.array(f"{name}.codes", codes),
            scales=self.array(f"{name}.scales", scales),
            zeros=zeros, rest=rest, bits=bits, block=block, shape=spec.shape,
        )

    def array(self, name, values):
        element = helper.np_dtype_to_tensor_dtype(values.dtype)
        return self.add(name, element, values.shape, [values])

    def add(self, name, element, shape, chunks):
        self.initializers.append(self.data.write(name, element, shape, chunks))
        return Value(name, element)


def split_blocks(packed):
    """bits, block, codes u8 [N, K/block, block*bits/8], scales f32 [N, K/block], and the rest,

    f32 likewise or None: w = scale * (code - ZERO[bits]) + rest.
    """
    storage, parts = packed.storage, packed.parts
    rows, columns = storage.shape
    dtype = DTYPE_OF[storage.scales_dtype]
    scales = widen(parts["scales"], dtype).reshape(rows, -1)
    bits = max(2, CODE_BITS[storage.kind])
    words = parts["codes"]
    if storage.kind == "ternary":
        words = pack_words(unpack_trits(words, storage.parameters).reshape(rows, columns), 2)
    elif CODE_BITS[storage.kind] == 1:  # code 1 becomes 2, one above the zero between the two
        words, scales = pack_words(2 * unpack_words(words, 1), 2), scales / np.float32(2)
    rest = None
    if "biases" in parts:
        biases = widen(parts["biases"], dtype).reshape(rows, -1).astype(float)
        rest = (biases + ZERO[bits] * scales.astype(float)).astype("<f4")
        words, scales, rest = fold_constant_blocks(words, bits, scales, rest)
    block = largest_block(storage.group)
    repeats = storage.group // block
    scales, rest = (a if a is None else np.repeat(a, repeats, axis=1) for a in (scales, rest))
    codes = np.ascontiguousarray(words, "<u4").view(np.uint8)
    return bits, block, codes.reshape(rows, columns // block, -1), scales, rest


def fold_constant_blocks(words, bits, scales, rest):
    """A block without a scale is its bias alone: one code above zero, the bias its scale.

    That is what packers of binary weights make of a block of one sign; then no rest is left.
    """
    constant = (scales == 0) & (rest != 0)
    if constant.any():
        codes = unpack_words(words, bits)
        grouped = codes.reshape(*scales.shape, -1)
        grouped[constant] = ZERO[bits] + 1
        words = pack_words(codes, bits)
        scales, rest = np.where(constant, rest, scales), np.where(constant, 0, rest)
    return words, scales, rest.astype("<f4") if rest.any() else None


def largest_block(group):
    """MatMulNBits takes powers of two from 16 on; a group of 96 becomes three blocks of 32."""
    block = min(group & -group, LARGEST_BLOCK)
    if block < 16:
        raise ExportError(f"a group of {group} inputs has no blocks of 16 or more, expected a "
                          "multiple of 16; leave --onnx out")
    return block


def pack_zeros(shape, bits):
    """The zero of every block, u8 [N, bytes], the first in the lowest bits."""
    rows, blocks = shape
    per_byte = 8 // bits
    byte = sum(ZERO[bits] << bits * i for i in range(per_byte))
    return np.full((rows, -(-blocks // per_byte)), byte, np.uint8)


def is_exact_half(values):
    with np.errstate(over="ignore"):  # infinity differs from the value
        return bool((values.astype(np.float16).astype(np.float32) == values).all())
