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


@pytest.mark.parametrize("case, m, d", [("smallest", 1, 4), ("ragged", 7, 300), ("real", 64, 2240)])
def test_add_row(case, m, d):
    x, row = normal(1, m, d), normal(2, d)
    got = gpu.run("add_row", {"M": m, "D": d}, {"row": row, "x": x}, most_groups=FEW)
    assert_close("add_row", case, got, oracles.add_row(x, row))
