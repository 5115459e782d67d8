import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import normal
from tests.tolerance import assert_close

COUNTS = {"smallest": 1, "ragged": 1000, "real": 320 * 768}
EDGES = np.float32([0, -0.0, 1, -1, 20, -20, 87, -87, 89, -89, 100, -100, 4e4, -4e4])
FEW = 3  # workgroups: 768 threads for 1000 elements and more


@pytest.mark.parametrize("case", COUNTS)
def test_silu(case):
    x = normal(1, COUNTS[case], scale=4)
    got = gpu.run("silu", {"count": x.size}, {"x": x}, most_groups=FEW)
    assert_close("silu", case, got, oracles.silu(x))


@pytest.mark.parametrize("edge", EDGES)
def test_silu_edges(edge):
    """One value an array: beside 4e4 every error of the small ones would vanish."""
    x = np.full(1, edge)
    want = oracles.silu(x)
    want = want * (abs(want) > 1e-30)  # below that, f32 may flush and the kernels clamp exp
    silu = gpu.run("silu", {"count": 1}, {"x": x})
    assert_close("silu", f"{edge}", silu * (abs(silu) > 1e-30), want)


@pytest.mark.parametrize("case", COUNTS)
@pytest.mark.parametrize("alpha", [-0.25, 0.1])
def test_add_scaled(case, alpha):
    x, y = normal(1, COUNTS[case], scale=4e4), normal(2, COUNTS[case], scale=4e4)
    dims = {"count": x.size, "alpha": alpha}
    got = gpu.run("add_scaled", dims, {"y": y, "x": x}, most_groups=FEW)
    assert_close("add_scaled", case, got, oracles.add_scaled(x, np.float32(alpha), y))


@pytest.mark.parametrize("half_split", [False, True])
@pytest.mark.parametrize("case, shape", [
    ("smallest", (1, 1, 2)), ("ragged", (7, 3, 26)), ("real", (77, 8, 128))])
def test_rope(case, shape, half_split):
    tokens, _, width = shape
    angles = np.random.default_rng(1).uniform(0, 7, (tokens, width // 2))
    cos_sin = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    x = normal(2, *shape)
    dims = dict(zip(["T", "H", "Dh"], shape, strict=True))
    got = gpu.run("rope", dims, {"cos_sin": cos_sin, "x": x}, {"HALF_SPLIT": half_split},
                  most_groups=2)
    assert_close("rope", case, got, oracles.rope(x, cos_sin, half_split))


@pytest.mark.parametrize("half_split, want", [
    (False, [-2, 1, 3, 4]),  # pairs (1,2), (3,4): the first turned by a quarter
    (True, [-3, 2, 1, 4]),  # pairs (1,3), (2,4)
])
def test_rope_pairs(half_split, want):
    cos_sin = np.float32([[[0, 1], [1, 0]]])
    got = gpu.run("rope", {"T": 1, "H": 1, "Dh": 4},
                  {"cos_sin": cos_sin, "x": np.float32([1, 2, 3, 4])}, {"HALF_SPLIT": half_split})
    assert got.tolist() == want
