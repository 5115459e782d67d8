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


def check(case, overrides, dispatches=1):
    """The whole image against the oracle, in so many dispatches of neighbouring rows."""
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
    for strip in np.array_split(np.arange(rows), dispatches):
        dims = {"H": height, "W": width, "Cin": cin, "Cout": cout,
                "row0": strip[0], "rows": len(strip), "y0": strip[0]}
        y = gpu.run(kernel, dims, {"x": x, "w": stored, "bias": bias, "y": y}, overrides)
    assert_close(kernel, f"{case}, {overrides}, {dispatches} dispatches", y, want)


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
def test_rows_in_several_dispatches(case, overrides):
    check(case, overrides, dispatches=3)


def test_writes_only_its_rows():
    x, w, bias = normal(1, 6, 5, 4), normal(2, 3, 3, 3, 4), normal(3, 3)
    dims = {"H": 6, "W": 5, "Cin": 4, "Cout": 3, "row0": 2, "rows": 3, "y0": 2}
    got = gpu.run("conv2d", dims, {"x": x, "w": w, "bias": bias, "y": (6, 5, 3)}, {"FORMAT": F32})
    assert np.isnan(got[[0, 1, 5]]).all()
    assert_close("conv2d", "rows 2..4", got[2:5], oracles.conv2d(x, w, bias)[2:5])


@pytest.mark.parametrize("cin", [4, 3])
def test_rows_to_another_place(cin):
    """A strip's rows, from a picture that begins above it to one of its own."""
    kernel = "conv2d" if cin == 4 else "conv2d_ragged"
    x, w, bias = normal(1, 6, 5, cin), normal(2, 3, 3, 3, cin), normal(3, 3)
    dims = {"H": 6, "W": 5, "Cin": cin, "Cout": 3, "row0": 7, "rows": 3, "y0": 1}
    stored = {"x": x, "w": w, "bias": bias, "y": (5, 10, 3)}
    got = gpu.run(kernel, dims, stored, {"FORMAT": F32, "UP": 2})
    assert np.isnan(got[[0, 4]]).all()
    assert_close(kernel, "rows 7..9", got[1:4], oracles.conv2d(x, w, bias, up=2)[7:10])


def test_orientation():
    """One bright pixel comes out as the kernel turned by half: y[i,j] = w[1-di, 1-dj]."""
    x = np.zeros((3, 3, 4), np.float32)
    x[1, 1, 0] = 1
    w = np.zeros((1, 3, 3, 4), np.float32)
    w[0, :, :, 0] = np.arange(9).reshape(3, 3)
    dims = {"H": 3, "W": 3, "Cin": 4, "Cout": 1, "row0": 0, "rows": 3, "y0": 0}
    stored = {"x": x, "w": w, "bias": np.zeros(1, np.float32), "y": (3, 3, 1)}
    got = gpu.run("conv2d", dims, stored, {"FORMAT": F32})
    assert got[..., 0].tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]
