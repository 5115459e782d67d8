"""The packed formats: one size table, and a pack/unpack pair for each bit layout.

Words are little-endian, the first code in the lowest bits. A weight is

    ternary  scale * (code - 1)      code 0, 1, 2    wire: base 3     GPU memory: 2 bits
    binary   scale * (code - 0.5)    code 0, 1       1 bit
    affineB  scale * code + bias     B-bit code      B = 1, 2, 4, 8

with one scale (and bias) for each row and group of columns.
"""

import math
from dataclasses import dataclass

import numpy as np

from export.errors import ExportError

FLOAT_BYTES = {"f32": 4, "f16": 2, "bf16": 2}
STORAGE_OF = {"F32": "f32", "F16": "f16", "BF16": "bf16"}  # safetensors dtype -> storage
DTYPE_OF = {storage: dtype for dtype, storage in STORAGE_OF.items()}
CODE_BITS = {"ternary": 2, "binary": 1, "affine1": 1, "affine2": 2, "affine4": 4, "affine8": 8}
TRITS_PER_BYTE = 5
# Inputs that share a scale: of what the kernels take multiples, and what models have as a rule.
GROUP_STEP, USUAL_GROUP = 16, 128
WORD_BITS = 32  # a row of codes is whole words
POWERS = (1, 3, 9, 27, 81)
SMALLEST_F16 = np.float32(2.0**-14)  # below, f16 is subnormal
CHUNK_VALUES = 1 << 22


@dataclass(frozen=True)
class Storage:
    """How one tensor is stored: everything its sizes follow from."""

    kind: str
    shape: tuple[int, ...]
    group: int = 0
    scales_dtype: str = ""

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)

    def part_bytes(self) -> dict[str, int]:
        """part -> bytes in the shards: the size table of every format."""
        if self.kind in FLOAT_BYTES:
            return {"data": self.parameters * FLOAT_BYTES[self.kind]}
        scales = self.parameters // self.group * FLOAT_BYTES[self.scales_dtype]
        if self.kind == "ternary":
            codes = -(-self.parameters // (4 * TRITS_PER_BYTE)) * 4
        else:
            codes = self.parameters * CODE_BITS[self.kind] // 8
        parts = {"codes": codes, "scales": scales}
        return parts | ({"biases": scales} if self.kind.startswith("affine") else {})

    @property
    def wire_bytes(self) -> int:
        return sum(self.part_bytes().values())

    @property
    def gpu_bytes(self) -> int:
        """In GPU memory only the ternary codes differ: two bits each."""
        if self.kind == "ternary":
            return self.parameters // 4 + self.part_bytes()["scales"]
        return self.wire_bytes


@dataclass(frozen=True)
class Packed:
    """One tensor ready to be written: part name -> little-endian array."""

    storage: Storage
    parts: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        got = {name: part.nbytes for name, part in self.parts.items()}
        assert got == self.storage.part_bytes(), (self.storage, got)


def pack_words(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes u8 [N, K] below 2**bits -> u32 [N, K*bits/32]."""
    per_word = WORD_BITS // bits
    rows, columns = codes.shape
    if columns % per_word:
        raise ExportError(f"{columns} codes of {bits} bits do not fill whole 32-bit words")
    words = np.zeros((rows, columns // per_word), "<u4")
    for i in range(per_word):
        words |= codes[:, i::per_word].astype("<u4") << np.uint32(bits * i)
    return words


def unpack_words(words: np.ndarray, bits: int) -> np.ndarray:
    """u32 [N, W] -> codes u8 [N, W*32/bits]."""
    per_byte = 8 // bits
    # Row b holds the codes of byte b; read as one integer, it is copied in one step.
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    table = np.arange(256, dtype=np.uint8)[:, None] >> shifts & np.uint8((1 << bits) - 1)
    table = table.view(f"u{per_byte}")[:, 0]
    stored = np.ascontiguousarray(words, "<u4").view(np.uint8)
    return table[stored].view(np.uint8)


def pack_trits(codes: np.ndarray) -> np.ndarray:
    """Codes u8, any shape, each 0, 1 or 2 -> u8 [bytes]: five a byte, lowest power first.

    Padded with code 0 to a multiple of four bytes.
    """
    flat = np.ascontiguousarray(codes).reshape(-1)
    per_word = 4 * TRITS_PER_BYTE
    if flat.size % per_word:
        flat = np.concatenate([flat, np.zeros(-flat.size % per_word, np.uint8)])
    digits = flat.reshape(-1, TRITS_PER_BYTE)
    packed = digits[:, 0].copy()
    for i in range(1, TRITS_PER_BYTE):
        packed += digits[:, i] * np.uint8(POWERS[i])
    return packed


def unpack_trits(packed: np.ndarray, count: int) -> np.ndarray:
    """u8 [bytes] -> the first `count` codes, u8 [count]."""
    digits = np.stack([packed // np.uint8(power) % np.uint8(3) for power in POWERS], axis=-1)
    return digits.reshape(-1)[:count]


def quantize_affine(
    values: np.ndarray, bits: int, group: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f32 [N, K] -> codes u8 [N, K], scales and biases bf16-as-u16 [N, K/group].

    bias = min and scale = (max - min) / (2**bits - 1) of each group, both rounded to bf16 before
    the codes are chosen, so that the rounding is made good by the codes.
    """
    rows, columns = values.shape
    grouped = values.reshape(rows, columns // group, group)
    low, high = grouped.min(axis=-1), grouped.max(axis=-1)
    largest_code = 2**bits - 1
    scale = round_bf16((high - low) / np.float32(largest_code))
    bias = round_bf16(low)
    step = widen_bf16(scale)[..., None]
    codes = grouped - widen_bf16(bias)[..., None]
    codes /= np.where(step == 0, np.float32(1), step)  # a constant group has scale 0 and code 0
    np.rint(codes, out=codes)
    np.clip(codes, 0, largest_code, out=codes)
    codes *= step != 0
    return codes.astype(np.uint8).reshape(rows, columns), scale, bias


def round_bf16(values: np.ndarray) -> np.ndarray:
    """f32 -> bf16 as u16, to nearest, ties to even. Finite values only."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def widen_bf16(stored: np.ndarray) -> np.ndarray:
    return (stored.astype(np.uint32) << 16).view(np.float32)


def narrow(*arrays: np.ndarray) -> tuple[str, list[np.ndarray]]:
    """Finite f32 arrays in the narrowest type that holds them exactly: its safetensors dtype and

    the arrays as stored, bf16 as u16.
    """
    exact = [np.ascontiguousarray(values, "<f4") for values in arrays]
    if all(is_bf16(values) for values in exact):
        return "BF16", [values.view("<u2").reshape(*values.shape, 2)[..., 1].copy()
                        for values in exact]
    if all(is_f16(values) for values in exact):
        return "F16", [values.astype("<f2") for values in exact]
    return "F32", exact


def is_bf16(values: np.ndarray) -> bool:
    """Whether the lower halves of f32 values are all zero."""
    return not values.view("<u2").reshape(-1)[::2].any()


def is_f16(values: np.ndarray) -> bool:
    """Whether f16 holds all f32 values, none as a subnormal, for which a GPU may put zero."""
    flat = values.reshape(-1)
    for first in range(0, flat.size, CHUNK_VALUES):
        chunk = flat[first : first + CHUNK_VALUES]
        with np.errstate(over="ignore"):  # infinity differs from the value
            exact = chunk.astype("<f2").astype("<f4") == chunk
        if not (exact & ((np.abs(chunk) >= SMALLEST_F16) | (chunk == 0))).all():
            return False
    return True
