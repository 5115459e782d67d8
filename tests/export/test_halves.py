"""Matrices of f32 in 16 bits: the nearest f16, nothing subnormal, and what stays as it is."""

import numpy as np
import pytest

from export.families.sana import SANA
from export.layouts import Halves
from export.packing.spec import CONV, DENSE, VECTOR, Spec
from tests.export.test_any_group import NAME, Held
from tests.export.tiny import bf16

SMALLEST = 2.0**-14


def packed(values, role, tmp_path, dtype="F32"):
    stored = bf16(values) if dtype == "BF16" else np.asarray(values, "<f4")
    layout = Halves(Held(tmp_path, {NAME: (dtype, stored)}), {NAME: Spec(values.shape, role)})
    got = layout.pack(NAME)
    assert layout.storage(NAME) == got.storage
    return got


@pytest.mark.parametrize("role", [DENSE, CONV])
def test_the_nearest_half(tmp_path, role):
    """Of every value between two neighbours of f16 half a step at most is lost."""
    shape = (5, 7, 3, 3) if role == CONV else (5, 63)
    values = np.random.default_rng(0).normal(size=shape).astype("<f4")
    got = packed(values, role, tmp_path)
    assert got.storage.kind == "f16" and got.parts["data"].dtype == np.dtype("<f2")
    want = values.transpose(0, 2, 3, 1) if role == CONV else values
    assert got.storage.shape == want.shape
    error = np.abs(got.parts["data"].astype(float) - want)
    assert (error <= np.abs(want) * 2.0**-11).all() and error.max() > 0


def test_nothing_is_subnormal(tmp_path):
    values = np.array([[1 / 3, SMALLEST * 0.75, -SMALLEST * 0.75, SMALLEST * 0.4, -SMALLEST * 0.4,
                        SMALLEST * 1.3, 0]])
    data = packed(values, DENSE, tmp_path).parts["data"].astype(float)[0]
    assert data[1:5].tolist() == [SMALLEST, -SMALLEST, 0, 0] and data[6] == 0
    assert abs(data[5] - SMALLEST * 1.3) <= SMALLEST * 2.0**-10


def test_what_stays(tmp_path):
    thirds = np.full((4, 4), 1 / 3, "<f4")
    assert packed(thirds, VECTOR, tmp_path).storage.kind == "f32"
    large = thirds.copy()
    large[0, 0] = 65536 + 1 / 3
    assert packed(large, DENSE, tmp_path).storage.kind == "f32"
    for exact, kind in ((np.full((4, 4), 1 / 256), "bf16"), (np.full((4, 4), 1 + 2.0**-10), "f16")):
        got = packed(exact, DENSE, tmp_path)
        assert got.storage.kind == kind
    assert packed(thirds, DENSE, tmp_path, "BF16").storage.kind == "bf16"


def test_sana_s_autoencoder_is_stored_so():
    assert SANA.autoencoder.layouts == (Halves,)
