
import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import BF16, F16, F32, encode, integers, normal, pack_codes
from tests.tolerance import assert_close

# case: M, N, N_all, n0, then K, K_all, k0 in units of 128, or of a group where groups are tested
SHAPES = {
    "smallest": (1, 1, 1, 0, 1, 1, 0),
    "one row": (1, 70, 70, 0, 4, 4, 0),
    "ragged": (37, 45, 45, 0, 2, 2, 0),
    "rows and columns of W": (6, 9, 20, 5, 2, 5, 3),
    "real": (80, 1024, 1024, 0, 8, 8, 0),
    "wide": (9, 40, 40, 0, 72, 72, 0),
}
PACKED = ["linear_packed", "linear_packed_few", "linear_packed_subgroup", "linear_packed_tiled",
          "linear_packed_int8"]
TERNARY, BINARY = {"BITS": 2, "ZERO": 1.0}, {"BITS": 1, "ZERO": 0.5}
AFFINE = {bits: {"BITS": bits, "ZERO": 2.0 ** (bits - 1), "BIASED": True, "GROUP": 64}
          for bits in (1, 2, 4, 8)}
EPILOGUES = [{"EPILOGUE": n} for n in (1, 2, 3)]
AFTER = [  # the product's bias and activation, then the epilogues
    {"BIAS": True}, *({"ACT": n} for n in (1, 2, 3, 4)), {"BIAS": True, "ACT": 2},
    *({"BIAS": True, "ACT": 1} | epilogue for epilogue in EPILOGUES), {"ACT": 4, "EPILOGUE": 1},
    {"ACT": 2, "EPILOGUE": 2},
]
VARIANTS = [
    TERNARY, {"FORMAT": F32}, {"FORMAT": F16}, {"GROUP": 64}, {"GROUP": 32}, BINARY,
    *AFFINE.values(), AFFINE[4] | {"FORMAT": F32}, AFFINE[4] | {"FORMAT": F16},
    AFFINE[4] | {"GROUP": 128}, *EPILOGUES, *AFTER, AFFINE[4] | {"BIAS": True, "ACT": 3},
]
TILES = [{"ROWS": 32, "COLUMNS": 64}, {"ROWS": 64, "COLUMNS": 128}, {"ROWS": 4, "COLUMNS": 8}]
NO_BYTES = {"linear_packed_few", "linear_packed_subgroup", "linear_packed_int8"}
GROUPS = [16, 48, 96, 112, 160]  # beside the powers of two of VARIANTS


def variants_of(names, variants):
    """(name, overrides) without codes of 8 bits where the kernel knows none."""
    return [(name, overrides) for name in names for overrides in variants
            if not (name in NO_BYTES and overrides.get("BITS") == 8)]


def check(name, case, overrides, x_scale=1.0, unit=128, x_mean=0):
    """Builds W [N_all, K_all] and x, y [M, ...], and compares with the oracle on the part of W."""
    m, n, n_all, n0, *columns = SHAPES[case]
    k, k_all, k0 = (unit * c for c in columns)
    chosen = {"BITS": 0, "GROUP": 128, "BIASED": False} | gpu.interface(name).defaults | overrides
    bits, group, number_format = (int(chosen[key]) for key in ("BITS", "GROUP", "FORMAT"))
    part = slice(n0, n0 + n), slice(k0, k0 + k)
    groups = slice(n0, n0 + n), slice(k0 // group, (k0 + k) // group)

    x = normal(1, m, k, scale=x_scale) + np.float32(x_mean)
    before, gate, bias = normal(2, m, n), normal(6, n + 5), normal(7, n_all)
    after = {"epilogue": int(chosen["EPILOGUE"]), "y": before, "gate": gate[5:],
             "bias": bias[part[0]] if chosen["BIAS"] else 0.0, "act": int(chosen["ACT"])}
    stored = {"x": x, "bias": bias, "gate": gate,
              "y": before if after["epilogue"] else before.shape}
    if name == "linear_dense":
        stored["w"], w = encode(normal(3, n_all, k_all), number_format)
        want = oracles.linear_dense(x, w[part], **after)
    else:
        ternary = bits == 2 and not chosen["BIASED"]
        codes = integers(3, 3 if ternary else 2**bits, n_all, k_all)
        stored["codes"] = pack_codes(codes, bits)
        stored["scales"], scales = encode(normal(4, n_all, k_all // group), number_format)
        stored["biases"], biases = stored["scales"], None
        if chosen["BIASED"]:
            offsets = -scales * 2 ** (bits - 1) + normal(5, *scales.shape)
            stored["biases"], biases = encode(offsets, number_format)
            biases = biases[groups]
        if name == "linear_packed_int8":
            stored["q"], stored_x = stored.pop("x"), x
            shared = span_of(group)
            stride = stride_of(bits, shared)
            stored["q"] = oracles.quantize_rows(stored_x, shared, stride)
            x = dequantised(stored["q"], k, shared, stride)
        want = oracles.linear_packed(
            x, codes[part], scales[groups], chosen["ZERO"], biases, **after)

    dims = {"M": m, "N": n, "K": k, "K_all": k_all, "n0": n0, "k0": k0, "gate_at": 5}
    row = f"{name}, f16" if overrides.get("F16") else name
    assert_close(row, f"{case}, {overrides}", gpu.run(name, dims, stored, overrides), want)


def span_of(group):
    """Inputs that share a scale as bytes, where weights have one for a group."""
    return group if group <= 256 else min(128, group & -group)


def stride_of(bits, group):
    """Of the bytes' order: 4 * stride of them are those of one word of codes, or of half a word."""
    return min(8 // bits, 8 if group % 32 == 0 else 4)


def dequantised(q, k, group, stride):
    """What quantize_rows' output stands for, f64 [M, K]."""
    words = np.ascontiguousarray(q[:, : k // 4]).view(np.int8).reshape(len(q), -1, stride, 4)
    values = words.swapaxes(-1, -2).reshape(len(q), -1, group)
    scales = np.ascontiguousarray(q[:, k // 4 : k // 4 + k // group]).view(np.float32)
    return (values * scales[..., None].astype(np.float64)).reshape(len(q), k)


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("name", [*PACKED, "linear_dense"])
def test_shapes(name, case):
    check(name, case, {})


@pytest.mark.parametrize("name, overrides", variants_of(PACKED, VARIANTS), ids=str)
def test_packed_variants(name, overrides):
    check(name, "rows and columns of W", overrides)


@pytest.mark.parametrize("overrides", [{"FORMAT": F32}, {"FORMAT": F16}, *EPILOGUES, *AFTER],
                         ids=str)
def test_dense_variants(overrides):
    check("linear_dense", "rows and columns of W", overrides)


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("f16", [{}, {"F16": True}], ids=str)
def test_tiles(tile, f16):
    check("linear_packed_tiled", "ragged", tile | f16)
    check("linear_packed_tiled", "ragged", tile | f16 | AFFINE[4])


@pytest.mark.parametrize("lanes", [1, 2, 8, 32, 64])
def test_lanes_of_few_rows(lanes):
    check("linear_packed_few", "ragged", {"LANES": lanes})
    check("linear_packed_few", "wide", {"LANES": lanes} | AFFINE[4])


@pytest.mark.parametrize("name", [*PACKED, "linear_dense"])
def test_residual_sized_input(name):
    check(name, "ragged", {}, x_scale=4e4)


@pytest.mark.parametrize("act", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["linear_packed", "linear_dense"])
def test_activations_of_large_products(name, act):
    """No exp, no tanh overflows: products of 10^5 and -10^5 are themselves and 0."""
    check(name, "ragged", {"ACT": act}, x_scale=4e4)


def test_beyond_f16_nothing_becomes_infinite():
    """Inputs above 65504 are taken as that: finite, and the same as in f32 with clamped inputs."""
    x = np.full((4, 128), 1e6, np.float32)
    stored = {"x": x, "codes": np.full((1, 8), 0xAAAAAAAA, np.uint32),
              "scales": np.ones(1, np.float32), "biases": np.ones(1, np.float32),
              "bias": np.ones(1, np.float32), "gate": np.ones(1, np.float32), "y": (4, 1)}
    dims = {"M": 4, "N": 1, "K": 128, "K_all": 128, "n0": 0, "k0": 0, "gate_at": 0}
    got = gpu.run("linear_packed_tiled", dims, stored, {"FORMAT": F32, "F16": True})
    assert got[:, 0].tolist() == [128 * 65504.0] * 4


@pytest.mark.parametrize("group, stride", [
    (group, stride_of(bits, group)) for group in [*GROUPS, 32, 64, 128, 256] for bits in (1, 2, 4)])
def test_quantize_rows(group, stride):
    k = 3 * group
    x = normal(1, 5, k)
    x[2, :group] = 0
    x[3] *= 4e4
    got = gpu.run("quantize_rows", {"M": 5, "K": k}, {"x": x, "q": (5, k // 4 + 6)},
                  {"GROUP": group, "STRIDE": stride})
    want = oracles.quantize_rows(x, group, stride)
    assert_close("quantize_rows", f"{group}, {stride}", got, want)
    assert np.abs(dequantised(got, k, group, stride) - x).max() <= np.abs(x).max() / 253


def test_bytes_keep_their_row():
    """The largest of each group is kept to a rounding of f32."""
    x = normal(1, 5, 512)
    back = dequantised(oracles.quantize_rows(x, 128, 4), 512, 128, 4)
    at = np.abs(x.reshape(5, 4, 128)).argmax(-1) + 128 * np.arange(4)
    largest = np.take_along_axis(x, at, 1)
    assert np.allclose(np.take_along_axis(back, at, 1), largest, rtol=1e-6, atol=0)


def test_dense_width_needs_only_four():
    x, w = normal(1, 3, 12), normal(2, 5, 20)
    dims = {"M": 3, "N": 5, "K": 12, "K_all": 20, "n0": 0, "k0": 4, "gate_at": 0}
    stored = {"x": x, "w": w, "bias": w, "gate": w, "y": (3, 5)}
    got = gpu.run("linear_dense", dims, stored, {"FORMAT": F32})
    assert_close("linear_dense", "K = 12 of 20", got, oracles.linear_dense(x, w[:, 4:16]))


def unpacked(name, word, overrides, bias=None):
    """The 32 weights of one row whose codes are all `word`, read off with x = identity, scale 1."""
    one = np.ones(1, np.float32)
    stored = {"x": np.eye(32, dtype=np.float32), "codes": np.full(32, word, np.uint32),
              "scales": one, "biases": one if bias is None else np.float32([bias]),
              "bias": one, "gate": one, "y": (32, 1)}
    dims = {"M": 32, "N": 1, "K": 32, "K_all": 32, "n0": 0, "k0": 0, "gate_at": 0}
    overrides = {"GROUP": 32, "FORMAT": F32, "BIASED": bias is not None, **overrides}
    return gpu.run(name, dims, stored, overrides)[:, 0].tolist()


@pytest.mark.parametrize("name", PACKED[:-1])
def test_bit_order(name):
    assert unpacked(name, 0x55555556, TERNARY) == [1, *[0] * 15] * 2
    assert unpacked(name, 0x15555554, TERNARY) == [-1, *[0] * 14, -1] * 2
    assert unpacked(name, 0x00000001, BINARY) == [0.5, *[-0.5] * 31]
    assert unpacked(name, 0x80000002, BINARY) == [-0.5, 0.5, *[-0.5] * 29, 0.5]
    for bits, word, bias, want in [
        (4, 0xFEDCBA98, -8, [*range(8)] * 4), (8, 0xFF020180, 0, [128, 1, 2, 255] * 8),
        (2, 0x0000001B, 0, [3, 2, 1, *[0] * 13] * 2), (1, 0x40000001, 1, [2, *[1] * 29, 2, 1]),
    ]:
        if bits < 8 or name not in NO_BYTES:
            codes = {"BITS": bits, "ZERO": 2.0 ** (bits - 1)}
            assert unpacked(name, word, codes, bias) == want


@pytest.mark.parametrize("number_format, word", [(BF16, 0x40003F80), (F16, 0x40003C00)])
def test_half_order(number_format, word):
    one = np.ones(1, np.float32)
    stored = {"x": np.eye(4, dtype=np.float32), "w": np.uint32([word, 0]), "bias": one,
              "gate": one, "y": (4, 1)}
    dims = {"M": 4, "N": 1, "K": 4, "K_all": 4, "n0": 0, "k0": 0, "gate_at": 0}
    got = gpu.run("linear_dense", dims, stored, {"FORMAT": number_format})
    assert got[:, 0].tolist() == [1, 2, 0, 0]

    scales = np.uint32([word])  # row 0 has scale 1, row 1 scale 2
    codes = np.full((2, 2), 0xAAAAAAAA, np.uint32)
    dims = {"M": 32, "N": 2, "K": 32, "K_all": 32, "n0": 0, "k0": 0, "gate_at": 0}
    stored = {"x": np.eye(32, dtype=np.float32), "codes": codes, "scales": scales,
              "biases": scales, "bias": one, "gate": one, "y": (32, 2)}
    for name in PACKED[:-1]:
        got = gpu.run(name, dims, stored, {"GROUP": 32, "FORMAT": number_format})
        assert got.tolist() == [[1, 2]] * 32


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name, codes", variants_of(
    PACKED, [TERNARY, BINARY, *AFFINE.values()]), ids=str)
def test_groups_of_any_multiple_of_16(monkeypatch, name, codes, group):
    """An odd number of groups a row, of which some are not used: no shape is a multiple of 128."""
    half = codes["BITS"] == 1 and group % 32  # a row of 1-bit codes is whole words
    monkeypatch.setitem(SHAPES, "groups", (9, 41, 43, 1, 3, 7, 2))
    check(name, "groups", codes | {"GROUP": group}, unit=2 * group if half else group)


@pytest.mark.parametrize("group", [272, 480, 3072])
@pytest.mark.parametrize("name, codes", variants_of(PACKED, [TERNARY, BINARY, AFFINE[4]]), ids=str)
def test_groups_as_wide_as_a_row(monkeypatch, name, codes, group):
    """As exact as narrow ones, though inputs of one sign and the codes' zero cancel."""
    unit = 2 * group if codes["BITS"] == 1 and group % 32 else group
    for mean, shape in ((1, (9, 41, 43, 1, 1, 1, 0)), (0, (5, 9, 20, 5, 1, 2, 1))):
        monkeypatch.setitem(SHAPES, "groups", shape)
        check(name, "groups", codes | {"GROUP": group}, unit=unit, x_mean=mean)


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("group", [48, 112])
def test_groups_in_tiles(monkeypatch, tile, group):
    monkeypatch.setitem(SHAPES, "groups", (37, 45, 45, 0, 3, 3, 0))
    check("linear_packed_tiled", "groups", tile | {"F16": True, "GROUP": group}, unit=group)


@pytest.mark.parametrize("lanes", [8, 32])
@pytest.mark.parametrize("codes", [TERNARY, AFFINE[1], AFFINE[4]], ids=str)
def test_groups_in_lanes(monkeypatch, lanes, codes):
    """More runs than lanes, and more than a whole number of times as many."""
    monkeypatch.setitem(SHAPES, "groups", (3, 45, 45, 0, 14, 14, 0))
    check("linear_packed_few", "groups", codes | {"GROUP": 112, "LANES": lanes}, unit=112)
