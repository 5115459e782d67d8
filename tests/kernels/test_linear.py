import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import BF16, F16, F32, encode, integers, normal, pack_codes
from tests.tolerance import assert_close

# case: M, N, N_all, n0, then K, K_all, k0 in groups of 128
SHAPES = {
    "smallest": (1, 1, 1, 0, 1, 1, 0),
    "one row": (1, 70, 70, 0, 4, 4, 0),
    "ragged": (37, 45, 45, 0, 2, 2, 0),
    "rows and columns of W": (6, 9, 20, 5, 2, 5, 3),
    "real": (80, 1024, 1024, 0, 8, 8, 0),
    "wide": (9, 40, 40, 0, 72, 72, 0),
}
DENSE = [{}, {"FORMAT": F32}, {"FORMAT": F16}, {"ADD": True}]
LOWBIT = [*DENSE, {"BITS": 1, "ZERO": 0.5}, {"GROUP": 64}]
AFFINE = [*DENSE, {"BITS": 1}, {"BITS": 2}, {"BITS": 8}, {"GROUP": 128}, {"GROUP": 32}]


def check(name, case, overrides, x_scale=1.0):
    """Builds W [N_all, K_all] and x, y [M, ...], and compares with the oracle on the part of W."""
    m, n, n_all, n0, *columns = SHAPES[case]
    k, k_all, k0 = (128 * c for c in columns)
    chosen = {"BITS": 2, "GROUP": 128, "FORMAT": BF16, "ADD": False, "ZERO": 1.0}
    chosen |= gpu.interface(name).defaults | overrides
    bits, group = int(chosen["BITS"]), int(chosen["GROUP"])
    part = slice(n0, n0 + n), slice(k0, k0 + k)
    groups = slice(n0, n0 + n), slice(k0 // group, (k0 + k) // group)

    x, before = normal(1, m, k, scale=x_scale), normal(2, m, n, scale=x_scale)
    y = {"y": before} if chosen["ADD"] else {}
    stored = {"x": x, "y": before if chosen["ADD"] else before.shape}
    if name == "linear_dense":
        stored["w"], w = encode(normal(3, n_all, k_all), chosen["FORMAT"])
        want = oracles.linear_dense(x, w[part], **y)
    else:
        codes = integers(3, 3 if name == "linear_lowbit" and bits == 2 else 2**bits, n_all, k_all)
        stored["codes"] = pack_codes(codes, bits)
        stored["scales"], scales = encode(normal(4, n_all, k_all // group), chosen["FORMAT"])
        if name == "linear_lowbit":
            want = oracles.linear_lowbit(x, codes[part], scales[groups], chosen["ZERO"], **y)
        else:
            offsets = -scales * 2 ** (bits - 1) + normal(5, *scales.shape)
            stored["biases"], biases = encode(offsets, chosen["FORMAT"])
            want = oracles.linear_affine(x, codes[part], scales[groups], biases[groups], **y)

    dims = {"M": m, "N": n, "K": k, "K_all": k_all, "n0": n0, "k0": k0}
    assert_close(name, f"{case}, {overrides}", gpu.run(name, dims, stored, overrides), want)


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("name", ["linear_lowbit", "linear_affine", "linear_dense"])
def test_shapes(name, case):
    check(name, case, {})


@pytest.mark.parametrize("overrides", LOWBIT, ids=str)
def test_lowbit_variants(overrides):
    check("linear_lowbit", "rows and columns of W", overrides)


@pytest.mark.parametrize("overrides", AFFINE, ids=str)
def test_affine_variants(overrides):
    check("linear_affine", "rows and columns of W", overrides)


@pytest.mark.parametrize("overrides", DENSE, ids=str)
def test_dense_variants(overrides):
    check("linear_dense", "rows and columns of W", overrides)


@pytest.mark.parametrize("name", ["linear_lowbit", "linear_affine", "linear_dense"])
def test_residual_sized_input(name):
    check(name, "ragged", {}, x_scale=4e4)


def test_dense_width_needs_only_four():
    x, w = normal(1, 3, 12), normal(2, 5, 20)
    dims = {"M": 3, "N": 5, "K": 12, "K_all": 20, "n0": 0, "k0": 4}
    got = gpu.run("linear_dense", dims, {"x": x, "w": w, "y": (3, 5)}, {"FORMAT": F32})
    assert_close("linear_dense", "K = 12 of 20", got, oracles.linear_dense(x, w[:, 4:16]))


def unpacked(name, word, overrides, bias=None):
    """The 32 weights of one row whose codes are all `word`, read off with x = identity, scale 1."""
    one = np.ones(1, np.float32)
    words = np.full(32, word, np.uint32)
    stored = {"x": np.eye(32, dtype=np.float32), "codes": words, "scales": one, "y": (32, 1)}
    if bias is not None:
        stored["biases"] = np.float32([bias])
    dims = {"M": 32, "N": 1, "K": 32, "K_all": 32, "n0": 0, "k0": 0}
    return gpu.run(name, dims, stored, {"GROUP": 32, "FORMAT": F32, **overrides})[:, 0].tolist()


def test_bit_order_ternary():
    assert unpacked("linear_lowbit", 0x55555556, {}) == [1, *[0] * 15] * 2
    assert unpacked("linear_lowbit", 0x15555554, {}) == [-1, *[0] * 14, -1] * 2


def test_bit_order_binary():
    binary = {"BITS": 1, "ZERO": 0.5}
    assert unpacked("linear_lowbit", 0x00000001, binary) == [0.5, *[-0.5] * 31]
    assert unpacked("linear_lowbit", 0x80000002, binary) == [-0.5, 0.5, *[-0.5] * 29, 0.5]


def test_bit_order_affine():
    assert unpacked("linear_affine", 0xFEDCBA98, {"BITS": 4}, -8) == [*range(8)] * 4
    assert unpacked("linear_affine", 0xFF020180, {"BITS": 8}, 0) == [128, 1, 2, 255] * 8
    assert unpacked("linear_affine", 0x0000001B, {"BITS": 2}, 0) == [3, 2, 1, *[0] * 13] * 2
    assert unpacked("linear_affine", 0x40000001, {"BITS": 1}, 1) == [2, *[1] * 29, 2, 1]


@pytest.mark.parametrize("number_format, word", [(BF16, 0x40003F80), (F16, 0x40003C00)])
def test_half_order(number_format, word):
    stored = {"x": np.eye(4, dtype=np.float32), "w": np.uint32([word, 0]), "y": (4, 1)}
    dims = {"M": 4, "N": 1, "K": 4, "K_all": 4, "n0": 0, "k0": 0}
    got = gpu.run("linear_dense", dims, stored, {"FORMAT": number_format})
    assert got[:, 0].tolist() == [1, 2, 0, 0]

    scales = np.uint32([word])  # row 0 has scale 1, row 1 scale 2
    codes = np.full((2, 2), 0xAAAAAAAA, np.uint32)
    dims = {"M": 32, "N": 2, "K": 32, "K_all": 32, "n0": 0, "k0": 0}
    stored = {"x": np.eye(32, dtype=np.float32), "codes": codes, "scales": scales, "y": (32, 2)}
    got = gpu.run("linear_lowbit", dims, stored, {"GROUP": 32, "FORMAT": number_format})
    assert got.tolist() == [[1, 2]] * 32
