"""Kernels that work on the channels of pixels."""

import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import normal
from tests.tolerance import assert_close

FEW = 3  # workgroups, so that every stride loop turns
EPS = np.float32(1e-5)
PIXELS = {"smallest": (1, 1), "ragged": (9, 70), "real": (12, 1024)}
GROUPS = {"smallest": (1, 4, 4), "ragged": (7, 24, 8), "real": (20, 192, 32)}  # P, C, K


@pytest.mark.parametrize("case", GROUPS)
def test_linear_grouped(case):
    pixels, channels, k = GROUPS[case]
    x, w = normal(1, pixels + 1, channels), normal(2, channels, k)
    got = gpu.run("linear_grouped", {"P": pixels, "C": channels, "K": k, "x0": 1, "y0": 2},
                  {"x": x, "w": w, "y": (pixels + 2, channels)}, most_groups=FEW)
    assert np.isnan(got[:2]).all()
    assert_close("linear_grouped", case, got[2:], oracles.linear_grouped(x[1:], w))


def test_place_channels():
    x, y = normal(1, 300, 5), normal(2, 301, 9)
    got = gpu.run("place_channels", {"P": 300, "C": 5, "Cy": 9, "y0": 1, "c0": 3},
                  {"x": x, "y": y}, most_groups=FEW)
    assert np.array_equal(got[0], y[0])
    assert_close("place_channels", "ragged", got[1:], oracles.place_channels(x, y[1:], 3))


@pytest.mark.parametrize("up, repeat, cin", [(1, 4, 3), (2, 1, 8), (2, 2, 6), (2, 4, 3)])
@pytest.mark.parametrize("add", [False, True])
def test_pixel_shuffle(up, repeat, cin, add):
    height, width = 3, 5
    x = normal(1, height, width, cin)
    cout = cin * repeat // up**2
    before = normal(2, height * up, width * up, cout)
    y = before if add else np.full_like(before, np.nan)
    for rows in np.array_split(np.arange(height * up), 2):
        dims = {"W": width, "Cin": cin, "Cout": cout, "row0": rows[0], "rows": len(rows),
                "y0": rows[0]}
        y = gpu.run("pixel_shuffle", dims, {"x": x, "y": y},
                    {"UP": up, "REPEAT": repeat, "ADD": add}, most_groups=1)
    assert_close("pixel_shuffle", f"{up}, {repeat}", y,
                 oracles.pixel_shuffle(x, up, repeat, before if add else 0.0))


@pytest.mark.parametrize("case", PIXELS)
@pytest.mark.parametrize("act", [0, 1, 4])
@pytest.mark.parametrize("add", [False, True])
def test_rms_norm_pixels(case, act, add):
    """From pixel 2 of x to pixel 1 of y."""
    pixels, channels = PIXELS[case]
    x, w, b = normal(1, pixels + 2, channels, scale=50), normal(2, channels), normal(3, channels)
    before = normal(4, pixels + 1, channels)
    dims = {"P": pixels, "C": channels, "x0": 2, "y0": 1, "eps": EPS}
    got = gpu.run("rms_norm_pixels", dims,
                  {"x": x, "w": w, "b": b, "y": before if add else before.shape},
                  {"ACT": act, "ADD": add}, most_groups=FEW)
    want = oracles.rms_norm_pixels(x[2:], w, b, EPS, act, before[1:] if add else 0.0)
    assert_close("rms_norm_pixels", f"{case}, {act}", got[1:], want)


def test_relu():
    x = normal(1, 1000, scale=4)
    got = gpu.run("relu", {"count": x.size}, {"x": x}, most_groups=FEW)
    assert_close("relu", "ragged", got, oracles.relu(x))
