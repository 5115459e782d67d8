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
DENSE = ["conv2d", "conv2d_tiled"]
RUNS = [*[(kernel, case) for kernel in DENSE for case in SHAPES],
        *[("conv2d_ragged", case) for case in RAGGED]]
EDGES = [("conv2d", "ragged"), ("conv2d_tiled", "ragged"), ("conv2d_ragged", "odd")]


def check(kernel, case, overrides, dispatches=1):
    """The whole image against the oracle, in so many dispatches of neighbouring rows."""
    height, width, cin, cout = (SHAPES | RAGGED)[case]
    chosen = {"KS": 3, "UP": 1, "FORMAT": BF16, "ADD": False} | overrides
    op = f"{kernel}, f16" if chosen.get("F16") else kernel
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
    assert_close(op, f"{case}, {overrides}, {dispatches} dispatches", y, want)


@pytest.mark.parametrize("kernel, case", RUNS)
def test_shapes(kernel, case):
    check(kernel, case, {})


@pytest.mark.parametrize("kernel, case", EDGES)
@pytest.mark.parametrize("overrides", VARIANTS, ids=str)
def test_variants(kernel, case, overrides):
    check(kernel, case, overrides)


@pytest.mark.parametrize("kernel, case", EDGES)
@pytest.mark.parametrize("overrides", [{}, {"UP": 2}, {"ADD": True}], ids=str)
def test_rows_in_several_dispatches(kernel, case, overrides):
    check(kernel, case, overrides, dispatches=3)


@pytest.mark.parametrize("case", ["ragged", "real"])
def test_operands_in_f16(case):
    check("conv2d_tiled", case, {"F16": True})


def test_what_f16_does_not_hold_is_bounded():
    x, w = np.full((1, 1, 4), 1e6, np.float32), np.full((1, 1, 1, 4), 0.5, np.float32)
    dims = {"H": 1, "W": 1, "Cin": 4, "Cout": 1, "row0": 0, "rows": 1, "y0": 0}
    stored = {"x": x, "w": w, "bias": np.zeros(1, np.float32), "y": (1, 1, 1)}
    got = gpu.run("conv2d_tiled", dims, stored, {"FORMAT": F32, "KS": 1, "F16": True})
    assert got.item() == 4 * 65504 * 0.5


@pytest.mark.parametrize("kernel", DENSE)
def test_writes_only_its_rows(kernel):
    x, w, bias = normal(1, 6, 5, 4), normal(2, 3, 3, 3, 4), normal(3, 3)
    dims = {"H": 6, "W": 5, "Cin": 4, "Cout": 3, "row0": 2, "rows": 3, "y0": 2}
    got = gpu.run(kernel, dims, {"x": x, "w": w, "bias": bias, "y": (6, 5, 3)}, {"FORMAT": F32})
    assert np.isnan(got[[0, 1, 5]]).all()
    assert_close(kernel, "rows 2..4", got[2:5], oracles.conv2d(x, w, bias)[2:5])


@pytest.mark.parametrize("kernel", [*DENSE, "conv2d_ragged"])
def test_rows_to_another_place(kernel):
    """A strip's rows, from a picture that begins above it to one of its own."""
    cin = 3 if kernel == "conv2d_ragged" else 4
    x, w, bias = normal(1, 6, 5, cin), normal(2, 3, 3, 3, cin), normal(3, 3)
    dims = {"H": 6, "W": 5, "Cin": cin, "Cout": 3, "row0": 7, "rows": 3, "y0": 1}
    stored = {"x": x, "w": w, "bias": bias, "y": (5, 10, 3)}
    got = gpu.run(kernel, dims, stored, {"FORMAT": F32, "UP": 2})
    assert np.isnan(got[[0, 4]]).all()
    assert_close(kernel, "rows 7..9", got[1:4], oracles.conv2d(x, w, bias, up=2)[7:10])


@pytest.mark.parametrize("kernel", DENSE)
def test_orientation(kernel):
    """One bright pixel comes out as the kernel turned by half: y[i,j] = w[1-di, 1-dj]."""
    x = np.zeros((3, 3, 4), np.float32)
    x[1, 1, 0] = 1
    w = np.zeros((1, 3, 3, 4), np.float32)
    w[0, :, :, 0] = np.arange(9).reshape(3, 3)
    dims = {"H": 3, "W": 3, "Cin": 4, "Cout": 1, "row0": 0, "rows": 3, "y0": 0}
    stored = {"x": x, "w": w, "bias": np.zeros(1, np.float32), "y": (3, 3, 1)}
    got = gpu.run(kernel, dims, stored, {"FORMAT": F32})
    assert got[..., 0].tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]
