"""Bit layouts: pinned bytes, exact round trips, exact sizes."""

import numpy as np
import pytest

from export.errors import ExportError
from export.packing import formats


def codes(shape, levels, seed=0):
    return np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint8)


def test_trits_pin_the_byte_order():
    packed = formats.pack_trits(np.array([[1, 0, 2, 1, 2, 2, 0, 0, 0, 1]], np.uint8))
    assert packed.tolist() == [1 + 2 * 9 + 27 + 2 * 81, 2 + 81, 0, 0]


def test_words_pin_the_bit_order():
    ternary = np.array([[2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]], np.uint8)
    assert formats.pack_words(ternary, 2).tolist() == [[0x15555556]]
    binary = np.array([[1] + [0] * 30 + [1]], np.uint8)
    assert formats.pack_words(binary, 1).tolist() == [[0x80000001]]
    affine = np.array([[1, 2, 3, 4, 5, 6, 7, 15]], np.uint8)
    assert formats.pack_words(affine, 4).tolist() == [[0xF7654321]]
    assert formats.pack_words(np.array([[1, 2, 3, 255]], np.uint8), 8).tolist() == [[0xFF030201]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 19), (1, 20), (3, 7), (5, 128), (7, 384)])
def test_trits_round_trip(shape):
    for values in (codes(shape, 3), np.zeros(shape, np.uint8), np.full(shape, 2, np.uint8)):
        packed = formats.pack_trits(values)
        assert packed.nbytes % 4 == 0 and packed.max() <= 242
        assert formats.unpack_trits(packed, values.size).tolist() == values.reshape(-1).tolist()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_words_round_trip(bits):
    for values in (codes((5, 128), 2**bits), np.zeros((5, 128), np.uint8)):
        words = formats.pack_words(values, bits)
        assert words.shape == (5, 4 * bits)
        assert (formats.unpack_words(words, bits) == values).all()
    words = np.random.default_rng(1).integers(0, 2**32, (3, 8), dtype=np.uint32)
    assert (formats.pack_words(formats.unpack_words(words, bits), bits) == words).all()


def test_words_refuse_a_ragged_row():
    with pytest.raises(ExportError, match="33 codes of 1 bits"):
        formats.pack_words(codes((2, 33), 2), 1)


@pytest.mark.parametrize(("storage", "parts", "gpu"), [
    (formats.Storage("bf16", (3, 5)), {"data": 30}, 30),
    (formats.Storage("ternary", (3, 128), 128, "bf16"), {"codes": 80, "scales": 6}, 96 + 6),
    (formats.Storage("binary", (2, 256), 128, "f32"), {"codes": 64, "scales": 16}, 80),
    (formats.Storage("affine4", (2, 64), 64, "f16"), {"codes": 64, "scales": 4, "biases": 4}, 72),
])
def test_sizes(storage, parts, gpu):
    assert storage.part_bytes() == parts
    assert storage.wire_bytes == sum(parts.values())
    assert storage.gpu_bytes == gpu


def test_bf16_rounds_to_nearest_even():
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xBF80C000, 0x00000000], np.uint32)
    got = formats.round_bf16(bits.view(np.float32))
    assert [hex(v) for v in got] == ["0x3f80", "0x3f82", "0x3f81", "0xbf81", "0x0"]
    assert (formats.round_bf16(formats.widen_bf16(got)) == got).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_affine_stays_within_half_a_step(bits):
    values = np.random.default_rng(0).standard_normal((16, 256)).astype(np.float32)
    q, scales, biases = formats.quantize_affine(values, bits, 64)
    step = np.repeat(formats.widen_bf16(scales), 64, axis=1)
    back = step * q + np.repeat(formats.widen_bf16(biases), 64, axis=1)
    # Half a step, and at the ends what rounding scale and bias to 8 bits costs.
    assert (np.abs(back - values) <= step * (0.5 + 2.0**-8 * 2**bits)).all()
    assert q.max() == 2**bits - 1 and q.min() == 0


def test_affine_keeps_what_is_on_its_grid():
    grid = codes((4, 64), 16).astype(np.float32) * np.float32(0.25) - 2
    grid[:, :2] = -2, 1.75
    q, scales, biases = formats.quantize_affine(grid, 4, 64)
    assert (formats.widen_bf16(scales) * q + formats.widen_bf16(biases) == grid).all()


def test_affine_keeps_a_constant_group():
    values = np.full((1, 64), np.float32(0.375))
    q, scales, biases = formats.quantize_affine(values, 4, 64)
    assert q.any() == 0 and scales.tolist() == [[0]]
    assert formats.widen_bf16(biases).tolist() == [[0.375]]


@pytest.mark.parametrize(("values", "dtype"), [
    ([0, -0.0, 1.5, -2.0**-126], "BF16"), ([1 + 2.0**-7], "BF16"), ([1 + 2.0**-10, 65504], "F16"),
    ([1 + 2.0**-10, 65536], "F32"), ([1 + 2.0**-10, 2.0**-15], "F32"), ([1 + 2.0**-11], "F32"),
    ([3.4028234e38], "F32"), ([], "BF16"),
])
def test_the_narrowest_exact_type(values, dtype):
    values = np.array(values, "<f4")
    got, (stored,) = formats.narrow(values)
    wide = formats.widen_bf16(stored) if got == "BF16" else stored.astype("<f4")
    assert got == dtype and wide.tobytes() == values.tobytes() and stored.shape == values.shape


def test_arrays_are_narrowed_together():
    whole, fine = np.ones((2, 3), "<f4"), np.full((3, 2), np.float32(1 / 3))
    assert formats.narrow(whole, fine)[0] == "F32"
    assert [a.shape for a in formats.narrow(whole, whole.T)[1]] == [(2, 3), (3, 2)]
