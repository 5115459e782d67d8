import numpy as np
import pytest
import torch

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import BF16, F16, F32, encode, normal
from tests.tolerance import assert_close

SHAPES = {  # H, W, Cin, Cout
    "smallest": (2, 2, 4, 1),
    "ragged": (6, 14, 12, 6),
    "one pair of columns": (18, 2, 4, 5),
    "real": (24, 32, 128, 128),
}


def inputs(case, number_format=BF16):
    """x, and w as stored and as meant, and bias."""
    height, width, cin, cout = SHAPES[case]
    stored, w = encode(normal(3, cout, 3, 3, cin), number_format)
    return normal(1, height, width, cin), stored, w, normal(2, cout)


def run(x, w, bias, shape, number_format=BF16, **dims):
    height, width, cin = x.shape
    dims = {"H": height, "W": width, "Cin": cin, "Cout": len(bias)} | dims
    return gpu.run("conv2d_down", dims, {"x": x, "w": w, "bias": bias, "y": shape},
                   {"FORMAT": number_format})


@pytest.mark.parametrize("number_format", [F32, BF16, F16])
@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case, number_format):
    x, stored, w, bias = inputs(case, number_format)
    want = oracles.conv2d_down(x, w, bias)
    got = run(x, stored, bias, want.shape, number_format, row0=0, rows=len(want), y0=0)
    assert_close("conv2d_down", f"{case}, {number_format}", got, want)


def test_the_oracle_is_torch_s():
    x, _, w, bias = inputs("ragged")
    padded = torch.nn.functional.pad(torch.from_numpy(x).permute(2, 0, 1), (0, 1, 0, 1))
    want = torch.nn.functional.conv2d(
        padded[None].double(), torch.from_numpy(w).permute(0, 3, 1, 2).double(),
        torch.from_numpy(bias).double(), stride=2)
    np.testing.assert_allclose(oracles.conv2d_down(x, w, bias),
                               want[0].permute(1, 2, 0).numpy(), rtol=0, atol=1e-12)


def test_rows_to_another_place():
    """Rows 3 and 4 of the outputs, from a picture that begins at row 5 to a strip of its own."""
    x, stored, w, bias = inputs("one pair of columns")
    want = oracles.conv2d_down(x, w, bias)
    got = run(x[5:], stored, bias, (4, 1, 5), row0=1, rows=2, y0=1)
    assert np.isnan(got[[0, 3]]).all()
    assert_close("conv2d_down", "rows 3 and 4", got[1:3], want[3:5])


def test_the_last_row_and_column_see_zeros():
    """A bright last pixel is seen by the middle tap of the last output alone."""
    x = np.zeros((4, 4, 4), np.float32)
    x[3, 3, 0] = 1
    w = np.zeros((1, 3, 3, 4), np.float32)
    w[0, :, :, 0] = np.arange(9).reshape(3, 3)
    got = run(x, w, np.zeros(1, np.float32), (2, 2, 1), F32, row0=0, rows=2, y0=0)
    assert got[..., 0].tolist() == [[0, 0], [0, 4]]
