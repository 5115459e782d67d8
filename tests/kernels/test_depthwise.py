import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import BF16, F16, F32, encode, normal
from tests.tolerance import assert_close

CASES = {  # H, W, C of y, KS
    "smallest": (1, 1, 4, 3),
    "ragged": (3, 7, 20, 3),
    "real": (5, 16, 560, 3),
    "five taps": (6, 9, 96, 5),
    "a map narrower than the taps": (2, 3, 8, 5),
}


def run(x, w, bias, channels, gated, row0=0, rows=None, y0=0, number_format=BF16):
    height, width, _ = x.shape
    rows = height if rows is None else rows
    dims = {"H": height, "W": width, "C": channels, "row0": row0, "rows": rows, "y0": y0}
    arrays = {"x": x, "w": w, "bias": np.full(4, np.nan, np.float32) if bias is None else bias,
              "y": (y0 + rows, width, channels)}
    return gpu.run("depthwise", dims, arrays, {"KS": len(w), "FORMAT": number_format,
                                               "BIAS": bias is not None, "GATED": gated})


def data(case, gated, number_format=BF16):
    height, width, channels, ks = CASES[case]
    wide = channels * (1 + gated)
    stored, meant = encode(normal(2, ks, ks, wide), number_format)
    return normal(1, height, width, wide), stored, meant, normal(3, wide), channels


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gated", [False, True])
def test_depthwise(case, gated):
    x, stored, meant, bias, channels = data(case, gated)
    assert_close("depthwise", case, run(x, stored, bias, channels, gated),
                 oracles.depthwise(x, meant, bias, gated))


@pytest.mark.parametrize("number_format", [F32, F16])
def test_formats_and_no_bias(number_format):
    x, stored, meant, _, channels = data("ragged", True, number_format)
    got = run(x, stored, None, channels, True, number_format=number_format)
    assert_close("depthwise", f"format {number_format}", got,
                 oracles.depthwise(x, meant, gated=True))


@pytest.mark.parametrize("row0, rows", [(0, 2), (2, 3), (4, 2)])
def test_rows_of_a_map(row0, rows):
    """Zeros are only outside of the map: its other rows are seen by those that are written."""
    x, stored, meant, bias, channels = data("five taps", False)
    got = run(x, stored, bias, channels, False, row0=row0, rows=rows, y0=1)
    assert np.isnan(got[0]).all()
    assert_close("depthwise", f"{rows} rows from {row0} on", got[1:],
                 oracles.depthwise(x, meant, bias)[row0 : row0 + rows])


def test_gates_that_overflow_exp():
    x = np.ones((1, 1, 8), np.float32)
    w = np.zeros((3, 3, 8), np.float32)
    w[1, 1] = [1, 2, 3, 4, 100, -100, 4e4, -4e4]
    got = run(x, w, None, 4, True, number_format=F32)
    np.testing.assert_allclose(got[0, 0], [100, 0, 12e4, 0], atol=1e-30)
