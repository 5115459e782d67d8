import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import BF16, encode, normal
from tests.tolerance import assert_close

ROWS = {
    "smallest": (1, 1),
    "ragged": (9, 70),
    "one head": (130, 64),
    "real": (12, 3072),
    "across all heads": (20, 2240),
}
IMAGES = {  # P, C, G, chunk
    "smallest": (1, 1, 1, 1),
    "ragged": (300, 24, 4, 128),
    "one chunk": (50, 12, 12, 64),
    "real": (4096, 128, 32, 1024),
}
EPS = 1e-6


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("x_scale, x_offset", [(1, 0), (4e4, 0), (1, 30)])
def test_layer_norm_modulate(case, x_scale, x_offset):
    m, d = ROWS[case]
    x = normal(1, m, d, scale=x_scale) + np.float32(x_offset)
    modulation = normal(2, 2 * d + 12)
    dims = {"M": m, "D": d, "shift_at": d + 10, "scale_at": 3, "eps": EPS}
    got = gpu.run("layer_norm_modulate", dims, {"x": x, "modulation": modulation, "y": x.shape})
    want = oracles.layer_norm_modulate(
        x, modulation[3 : d + 3], modulation[d + 10 : 2 * d + 10], np.float32(EPS))
    assert_close("layer_norm_modulate", case, got, want)


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("x_scale, x_offset", [(1, 0), (4e4, 0), (1, 30)])
def test_layer_norm(case, x_scale, x_offset):
    m, d = ROWS[case]
    x = normal(1, m, d, scale=x_scale) + np.float32(x_offset)
    w, b = normal(2, d), normal(3, d)
    got = gpu.run("layer_norm", {"M": m, "D": d, "eps": EPS},
                  {"x": x, "w": w, "b": b, "y": x.shape}, most_groups=7)
    assert_close("layer_norm", case, got, oracles.layer_norm(x, w, b, np.float32(EPS)))


def rms_norm(x, w, b=None, **how):
    dims = {"M": len(x), "D": x.shape[1], "eps": EPS}
    unread = np.full(1, np.nan, np.float32)
    stored = {"x": x, "w": w, "b": unread if b is None else b, "y": x.shape}
    return gpu.run("rms_norm", dims, stored, {"BIAS": b is not None}, **how)


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("x_scale", [1, 4e4, 1e-3])
def test_rms_norm(case, x_scale):
    m, d = ROWS[case]
    x, w = normal(1, m, d, scale=x_scale), normal(2, d)
    assert_close("rms_norm", case, rms_norm(x, w), oracles.rms_norm(x, w, np.float32(EPS)))


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("x_scale", [1, 4e4, 1e-3])
def test_rms_norm_with_bias(case, x_scale):
    m, d = ROWS[case]
    x, w, b = normal(1, m, d, scale=x_scale), normal(2, d), normal(3, d)
    assert_close("rms_norm", case, rms_norm(x, w, b),
                 oracles.rms_norm(x, w, np.float32(EPS), b))


@pytest.mark.parametrize("w_scale", [1e-4, 0.1, 100])
def test_rms_norm_of_one_plus_w(w_scale):
    """Gemma's weights count from one; added in f32 they are what the kernel takes."""
    m, d = ROWS["across all heads"]
    _, w = encode(normal(2, d, scale=w_scale), BF16)
    x = normal(1, m, d)
    assert_close("rms_norm", f"w about {w_scale}", rms_norm(x, np.float32(1) + w),
                 oracles.rms_norm(x, 1 + w.astype(np.float64), np.float32(EPS)))


def test_norms_loop_over_more_rows_than_workgroups():
    x, w = normal(1, 130, 64), normal(2, 128)
    assert_close("rms_norm", "7 workgroups", rms_norm(x, w[:64], most_groups=7),
                 oracles.rms_norm(x, w[:64], np.float32(EPS)))
    dims = {"M": 130, "D": 64, "shift_at": 0, "scale_at": 64, "eps": EPS}
    stored = {"x": x, "modulation": w, "y": x.shape}
    got = gpu.run("layer_norm_modulate", dims, stored, most_groups=7)
    assert_close("layer_norm_modulate", "7 workgroups", got,
                 oracles.layer_norm_modulate(x, w[64:], w[:64], np.float32(EPS)))


def image(case, offset=0.0):
    p, c, g, chunk = IMAGES[case]
    return normal(1, p, c) + np.float32(offset), {"P": p, "C": c, "G": g, "chunk": chunk}


def group_stats(x, dims):
    chunks = -(-dims["P"] // dims["chunk"])
    partials = gpu.run("group_norm_stats", {**dims, "first": 0},
                       {"x": x, "partials": (chunks, dims["G"], 2)})
    return partials, gpu.run("group_norm_merge", {**dims, "eps": EPS},
                             {"partials": partials, "stats": (dims["G"], 2)})


def check_stats(case, x, dims):
    """Means and spreads apart: NMSE over both would let one hide the other."""
    partials, stats = group_stats(x, dims)
    want = oracles.group_norm_stats(x, dims["G"], dims["chunk"])
    merged = oracles.group_norm_merge(x, dims["G"], np.float32(EPS))
    for i, part in enumerate(["mean", "spread"]):
        assert_close("group_norm_stats", f"{case}, {part}", partials[..., i], want[..., i])
        assert_close("group_norm_merge", f"{case}, {part}", stats[:, i], merged[:, i])


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("offset", [0, 1000, -1000])
def test_group_norm_stats(case, offset):
    check_stats(f"{case}, offset {offset}", *image(case, offset))


def test_group_norm_stats_survive_one_huge_first_pixel():
    x, dims = image("ragged")
    x[0] = 4e4
    check_stats("x[0] = 4e4", x, dims)


def test_group_norm_stats_of_a_hundred_thousand_deviations():
    """Merging is not asked for: one ulp of such a chunk mean is 0.8 % of a deviation."""
    x, dims = image("real", 1e5)
    got, _ = group_stats(x, dims)
    want = oracles.group_norm_stats(x, dims["G"], dims["chunk"])
    assert_close("group_norm_stats", "offset 1e5, mean", got[..., 0], want[..., 0])
    assert_close("group_norm_stats", "offset 1e5, spread", got[..., 1], want[..., 1])


def test_group_norm_merge_weighs_a_short_last_chunk():
    x, dims = image("ragged")
    x[256:] += 50
    check_stats("last 44 of 300 pixels off by 50", x, dims)


def test_group_norm_stats_strip_by_strip():
    """Strips of whole chunks fill their own part of the partials and leave the others."""
    x, dims = image("ragged")
    partials = np.full((3, dims["G"], 2), np.nan, np.float32)
    for first, strip in [(2, x[256:]), (0, x[:256])]:
        partials = gpu.run("group_norm_stats", {**dims, "P": len(strip), "first": first},
                           {"x": strip, "partials": partials})
    np.testing.assert_array_equal(partials, group_stats(x, dims)[0])


def apply_dims(dims, **places):
    return {key: dims[key] for key in "PCG"} | {"x0": 0, "y0": 0} | places


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("silu", [False, True])
def test_group_norm_apply(case, silu):
    x, dims = image(case)
    dims = apply_dims(dims)
    stats, w, b = normal(2, dims["G"], 2), normal(3, dims["C"]), normal(4, dims["C"])
    stored = {"x": x, "stats": stats, "w": w, "b": b, "y": x.shape}
    got = gpu.run("group_norm_apply", dims, stored, {"SILU": silu})
    want = oracles.group_norm_apply(x, stats, w, b)
    assert_close("group_norm_apply", case, got, oracles.silu(want) if silu else want)


def test_group_norm_apply_to_pixels_in_another_place():
    x, dims = image("ragged")
    dims = apply_dims(dims, P=30, x0=7, y0=5)
    stats, w, b = normal(2, dims["G"], 2), normal(3, dims["C"]), normal(4, dims["C"])
    stored = {"x": x, "stats": stats, "w": w, "b": b, "y": (40, dims["C"])}
    got = gpu.run("group_norm_apply", dims, stored)
    assert np.isnan(got[:5]).all() and np.isnan(got[35:]).all()
    assert_close("group_norm_apply", "pixels 7..36", got[5:35],
                 oracles.group_norm_apply(x[7:37], stats, w, b))


@pytest.mark.parametrize("offset", [0, 1000])
def test_group_norm_of_offset_data(offset):
    x, dims = image("real", offset)
    _, stats = group_stats(x, dims)
    dims = apply_dims(dims)
    w, b = normal(3, dims["C"]), normal(4, dims["C"])
    stored = {"x": x, "stats": stats, "w": w, "b": b, "y": x.shape}
    got = gpu.run("group_norm_apply", dims, stored)
    exact = oracles.group_norm_merge(x, dims["G"], np.float32(EPS))
    want = oracles.group_norm_apply(x, exact, w, b)
    assert_close("group_norm_apply" + ", offset" * (offset > 0), "all three", got, want)
