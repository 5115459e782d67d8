import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import BF16, F16, F32, encode, normal
from tests.tolerance import assert_close

SHAPES = {  # H, W, Cin, Cout
    "smallest": (1, 1, 4, 1),
    "ragged": (5, 7, 12, 6),
    "one column": (9, 1, 4, 5),
    "to pixels": (19, 23, 32, 3),
    "real": (24, 32, 128, 64),
}
RAGGED = {"one channel": (3, 4, 1, 2), "three channels": (5, 7, 3, 6), "odd": (9, 6, 13, 5)}
VARIANTS = [{}, {"KS": 1}, {"UP": 2}, {"KS": 1, "UP": 2}, {"FORMAT": F32}, {"FORMAT": F16},
            {"ADD": True}]


def check(case, overrides, strips=1):
    """The whole image against the oracle, in `strips` dispatches of neighbouring rows."""
    kernel = "conv2d_ragged" if case in RAGGED else "conv2d"
    height, width, cin, cout = (SHAPES | RAGGED)[case]
    chosen = {"KS": 3, "UP": 1, "FORMAT": BF16, "ADD": False} | overrides
    x, bias = normal(1, height, width, cin), normal(2, cout)
    stored, w = encode(normal(3, cout, chosen["KS"], chosen["KS"], cin), chosen["FORMAT"])
    rows = height * chosen["UP"]
    shape = rows, width * chosen["UP"], cout
    before = normal(4, *shape)
    want = oracles.conv2d(x, w, bias, chosen["UP"], before if chosen["ADD"] else 0.0)

    y = before if chosen["ADD"] else np.full(shape, np.nan, np.float32)
    for strip in np.array_split(np.arange(rows), strips):
        dims = {"H": height, "W": width, "Cin": cin, "Cout": cout,
                "row0": strip[0], "rows": len(strip)}
        y = gpu.run(kernel, dims, {"x": x, "w": stored, "bias": bias, "y": y}, overrides)
    assert_close(kernel, f"{case}, {overrides}, {strips} strips", y, want)


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case):
    check(case, {})


@pytest.mark.parametrize("case", RAGGED)
def test_any_number_of_channels(case):
    check(case, {})


@pytest.mark.parametrize("case", ["ragged", "odd"])
@pytest.mark.parametrize("overrides", VARIANTS, ids=str)
def test_variants(case, overrides):
    check(case, overrides)


@pytest.mark.parametrize("case", ["ragged", "odd"])
@pytest.mark.parametrize("overrides", [{}, {"UP": 2}, {"ADD": True}], ids=str)
def test_strips_of_rows(case, overrides):
    check(case, overrides, strips=3)


def test_writes_only_its_rows():
    x, w, bias = normal(1, 6, 5, 4), normal(2, 3, 3, 3, 4), normal(3, 3)
    dims = {"H": 6, "W": 5, "Cin": 4, "Cout": 3, "row0": 2, "rows": 3}
    got = gpu.run("conv2d", dims, {"x": x, "w": w, "bias": bias, "y": (6, 5, 3)}, {"FORMAT": F32})
    assert np.isnan(got[[0, 1, 5]]).all()
    assert_close("conv2d", "rows 2..4", got[2:5], oracles.conv2d(x, w, bias)[2:5])


def test_orientation():
    """One bright pixel comes out as the kernel turned by half: y[i,j] = w[1-di, 1-dj]."""
    x = np.zeros((3, 3, 4), np.float32)
    x[1, 1, 0] = 1
    w = np.zeros((1, 3, 3, 4), np.float32)
    w[0, :, :, 0] = np.arange(9).reshape(3, 3)
    dims = {"H": 3, "W": 3, "Cin": 4, "Cout": 1, "row0": 0, "rows": 3}
    stored = {"x": x, "w": w, "bias": np.zeros(1, np.float32), "y": (3, 3, 1)}
    got = gpu.run("conv2d", dims, stored, {"FORMAT": F32})
    assert got[..., 0].tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]
