"""The types of GGUF's tensors: which are read, what their blocks hold, what the others are called.

A quantised row is a row of blocks. The ternary ones, (code - 1) * scale with an f16 scale:

    Q2_0, PQ2_0     scale, then codes of 2 bits, four a byte, the first in the lowest bits
    TQ1_0, PTQ1_0   base 3: runs of bytes with five digits each and one run with four, then scale.
                    Digit n of byte m of a run of c bytes is weight n * c + m of the run, and
                    ((byte * 3^n mod 256) * 3) >> 8: the highest digit of what is left of a fraction
    TQ2_0           runs of 32 bytes: bits 2n of byte m are weight 32 n + m of the run; then scale

https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h
"""

from collections.abc import Iterable

import numpy as np

from export.packing.formats import unpack_words

FLOATS = {0: "F32", 1: "F16", 30: "BF16"}
TWO_SIZES = 42  # Q2_0 has blocks of 64, in files of a fork of 128; gguf_extents tells which
BLOCKS: dict[int, tuple[str, dict[int, int]]] = {  # type -> name and {weights in a block: bytes}
    8: ("Q8_0", {32: 34}), 34: ("TQ1_0", {256: 54}), 35: ("TQ2_0", {256: 66}),
    41: ("Q1_0", {128: 18}), TWO_SIZES: ("Q2_0", {64: 18, 128: 34}), 142: ("PQ2_0", {128: 34}),
    143: ("PTQ1_0", {128: 28}),
}
TERNARY = ("Q2_0", "PQ2_0", "TQ1_0", "TQ2_0", "PTQ1_0")
LOWBIT = ("Q1_0", *TERNARY)
ROUNDED = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 39: "MXFP4", 40: "NVFP4",
}
UNREAD = {24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64"}
DIGIT_RUNS = {  # name -> [(first byte of a run, bytes, digits a byte)]
    "TQ1_0": ((0, 32, 5), (32, 16, 5), (48, 4, 4)),
    "PTQ1_0": ((0, 16, 5), (16, 8, 5), (24, 2, 4)),
}
BIT_RUN = 32  # bytes of a run of TQ2_0
READ = ", ".join((*LOWBIT, *FLOATS.values()))
TAKE = ("take a model that was trained with ternary or binary weights: its file of Q2_0, PQ2_0, "
        "PTQ1_0 or Q1_0, or its folder of bf16 ones")


def type_name(kind: int) -> str:
    """What a tensor of this type is said to be where one is refused."""
    blocks = {number: name for number, (name, _) in BLOCKS.items()}
    known = FLOATS | blocks | ROUNDED | UNREAD
    return known.get(kind, f"of the unknown type {kind}")


def why_unread(dtype: str) -> str:
    """What to say of a tensor of this type that is needed."""
    if dtype in ROUNDED.values():
        return (
            f"is {dtype}, expected {READ}: {dtype} holds an ordinary model's weights rounded, and "
            f"rounds ternary and binary ones too; {TAKE}"
        )
    return (
        f"is {dtype}, which this version does not read here, expected {READ}; take a file of one "
        "of these types, or another layout"
    )


def split_ternary(name: str, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u8 [rows, blocks, bytes] -> scales f16 [rows, blocks] and codes u8 [rows, K], 0 to 2 or 3."""
    if name in ("Q2_0", "PQ2_0"):
        scales, codes = split_scales(blocks)
        rows, count, size = codes.shape
        return scales, unpack_words(codes.reshape(rows, count * size).view("<u4"), 2)
    scales = np.ascontiguousarray(blocks[..., -2:]).view("<f2")[..., 0]
    packed = blocks.reshape(-1, blocks.shape[2])[:, :-2]
    codes = unpack_bit_runs(packed) if name == "TQ2_0" else unpack_digits(packed, DIGIT_RUNS[name])
    return scales, codes.reshape(len(blocks), blocks.shape[1] * codes.shape[1])


def split_scales(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blocks that begin with their scale: scales f16 [rows, blocks], the rest u8 [..., bytes-2]."""
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0]
    return scales, np.ascontiguousarray(blocks[..., 2:])


def unpack_digits(packed: np.ndarray, runs: Iterable[tuple[int, int, int]]) -> np.ndarray:
    """u8 [blocks, bytes] -> codes u8 [blocks, weights]"""
    weights = sum(count * digits for _, count, digits in runs)
    codes = np.empty((len(packed), weights), np.uint8)
    at = 0
    for first, count, digits in runs:
        left = packed[:, first : first + count].copy()
        for _ in range(digits):  # what three times the fraction carries out of its byte
            codes[:, at : at + count] = (left >= 86).view(np.uint8) + (left >= 171).view(np.uint8)
            left *= np.uint8(3)
            at += count
    return codes


def unpack_bit_runs(packed: np.ndarray) -> np.ndarray:
    blocks, size = packed.shape
    runs = packed.reshape(blocks, size // BIT_RUN, 1, BIT_RUN)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    return (runs >> shifts & np.uint8(3)).reshape(blocks, 4 * size)
