import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import normal
from tests.tolerance import assert_close

EPS = 1e-6
HEADS = {"smallest": (1, 1, 2), "ragged": (7, 3, 26), "real": (77, 8, 128)}


def angles_of(tokens, width):
    angles = np.random.default_rng(1).uniform(0, 7, (tokens, width // 2))
    return np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)


@pytest.mark.parametrize("half_split", [False, True])
@pytest.mark.parametrize("case", HEADS)
def test_rms_norm_rope(case, half_split):
    shape = HEADS[case]
    tokens, _, width = shape
    angles = angles_of(tokens, width)
    x, w = normal(2, *shape, scale=4e4), normal(3, width)
    dims = dict(zip(["T", "H", "Dh"], shape, strict=True)) | {"t0": 0, "eps": EPS}
    got = gpu.run("rms_norm_rope", dims, {"x": x, "w": w, "angles": angles, "y": shape},
                  {"HALF_SPLIT": half_split}, most_groups=2)
    assert_close("rms_norm_rope", case, got,
                 oracles.rms_norm_rope(x, w, np.float32(EPS), angles, half_split))


@pytest.mark.parametrize("half_split", [False, True])
@pytest.mark.parametrize("case", [*HEADS, "wide heads"])
def test_rope(case, half_split):
    shape = tokens, _, width = HEADS.get(case, (70, 4, 256))
    angles, x = angles_of(tokens + 3, width), normal(2, *shape, scale=4e4)
    dims = dict(zip(["T", "H", "Dh"], shape, strict=True)) | {"t0": 3}
    got = gpu.run("rope", dims, {"angles": angles, "x": x}, {"HALF_SPLIT": half_split},
                  most_groups=2)
    assert_close("rope", case, got, oracles.rope(x, angles[3:], half_split))


@pytest.mark.parametrize("half_split, want", [
    (False, [-2, 1, 3, 4]),  # pairs (1,2), (3,4): the first turned by a quarter
    (True, [-3, 2, 1, 4]),  # pairs (1,3), (2,4)
])
def test_rope_pairs(half_split, want):
    """The row of angles is the second; a weight of rms(1, 2, 3, 4) keeps the numbers whole."""
    angles = np.float32([[[7, 7], [7, 7]], [[0, 1], [1, 0]]])
    x, w = np.float32([[[1, 2, 3, 4]]]), np.full(4, 7.5**0.5, np.float32)
    got = gpu.run("rms_norm_rope", {"T": 1, "H": 1, "Dh": 4, "t0": 1, "eps": 0},
                  {"x": x, "w": w, "angles": angles, "y": x.shape}, {"HALF_SPLIT": half_split})
    assert got.round(5).flatten().tolist() == want
    turned = gpu.run("rope", {"T": 1, "H": 1, "Dh": 4, "t0": 1}, {"angles": angles, "x": x},
                     {"HALF_SPLIT": half_split})
    assert turned.flatten().tolist() == want
