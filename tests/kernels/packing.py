"""Test data in the kernels' layouts, packed independently of export/."""

import numpy as np

F32, BF16, F16 = FORMATS = range(3)


def normal(seed, *shape, scale=1.0):
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return values * np.float32(scale)


def integers(seed, high, *shape):
    return np.random.default_rng(seed).integers(0, high, shape)


def pack_codes(codes, bits):
    """codes [N,K] -> u32 [N,K*bits/32], the first code in the lowest bits."""
    words = codes.astype(np.uint32).reshape(len(codes), -1, 32 // bits)
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    return np.bitwise_or.reduce(words << shifts, axis=-1)


def encode(values, number_format):
    """f32 values -> (stored array, the f32 values that it stands for)."""
    if number_format == BF16:
        stored = (values.view(np.uint32) >> 16).astype(np.uint16)
        return stored, (stored.astype(np.uint32) << 16).view(np.float32)
    stored = values.astype(np.float16 if number_format == F16 else np.float32)
    return stored, stored.astype(np.float32)
