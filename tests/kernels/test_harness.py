"""The checks' own checks: what a wrong kernel, a wrong dispatch and a wrong number look like."""

import re

import numpy as np
import pytest

from tests import oracles
from tests.kernels import assembly, gpu
from tests.kernels.packing import normal
from tests.tolerance import TOLERANCE, assert_close


@pytest.mark.parametrize("name", assembly.NAMES)
def test_every_kernel_is_declared_in_full(name):
    face = assembly.interface(name)
    (_, own) = face.pieces[-1]
    assert own.startswith(f"// {name} ")
    oracle = re.search(r"^//   oracle tests/oracles.py::(\w+)$", own, re.M)[1]
    assert name == oracle or name.startswith(f"{oracle}_")
    assert callable(getattr(oracles, oracle)) and name in TOLERANCE
    assert not re.search(r"^\s*(enable|requires) ", face.source, re.M)


def test_close_values_pass_and_perturbed_ones_fail():
    x = normal(1, 40, 64)
    w = normal(2, 64)
    got = gpu.run("rms_norm", {"M": 40, "D": 64, "eps": 1e-6},
                  {"x": x, "w": w, "b": w, "y": x.shape})
    want = oracles.rms_norm(x, w, 1e-6)
    assert_close("rms_norm", "as it is", got, want)
    got[3, 5] += 1e-4
    with pytest.raises(AssertionError, match=r"rms_norm/one off: .* at \[3, 5\]"):
        assert_close("rms_norm", "one off", got, want)


@pytest.mark.parametrize("got", [np.nan, np.inf, 1e-20])
def test_nan_infinity_and_noise_on_zeros_fail(got):
    with pytest.raises(AssertionError, match="silu/zeros"):
        assert_close("silu", "zeros", [0, got], [0, 0])
    assert_close("silu", "zeros", [0, 0], [0, 0])


@pytest.mark.parametrize("got", [np.nan, np.inf])
def test_one_nan_among_many_fails(got):
    values = np.ones(1000)
    values[17] = got
    with pytest.raises(AssertionError, match=r"at \[17\]"):
        assert_close("silu", "ones", values, np.ones(1000))


def test_a_wrong_shape_fails():
    with pytest.raises(AssertionError, match="shape"):
        assert_close("silu", "row for column", np.ones((1, 3)), np.ones((3, 1)))


def test_unwritten_outputs_are_nan():
    x = np.zeros((4, 3), np.float32)
    got = gpu.run("rms_norm", {"M": 3, "D": 3, "eps": 1.0},
                  {"x": x, "w": np.ones(3, np.float32), "b": x, "y": (4, 3)})
    assert not got[:3].any() and np.isnan(got[3]).all()


def test_a_write_behind_the_end_is_seen():
    x = np.zeros((5, 3), np.float32)
    with pytest.raises(AssertionError, match="wrote behind the 4 elements of rgba"):
        gpu.run("to_rgba", {"P": 5}, {"x": x, "rgba": (4,)})


@pytest.mark.parametrize("dims, arrays, overrides, what", [
    ({}, {"x": (4,)}, {}, "Dims"),
    ({"count": 4}, {"y": (4,)}, {}, "bindings"),
    ({"count": 4}, {"x": (4,)}, {"BITS": 2}, "overrides"),
])
def test_a_dispatch_that_does_not_fit_is_refused(dims, arrays, overrides, what):
    with pytest.raises(gpu.InterfaceError, match=f"silu: {what} are"):
        gpu.run("silu", dims, arrays, overrides)


def test_grids():
    linear = {"M": 33, "N": 64, "K": 128, "K_all": 128, "n0": 0, "k0": 0, "gate_at": 0}
    assert gpu.workgroups("linear_packed", linear, {}) == (1, 2, 1)
    stats = {"P": 300, "C": 24, "G": 4, "chunk": 128}
    assert gpu.workgroups("group_norm_stats", stats, {}) == (4, 3, 1)
    assert gpu.workgroups("silu", {"count": 2**31}, {}) == (65535, 1, 1)
    with pytest.raises(gpu.InterfaceError, match="split the dispatch"):
        gpu.workgroups("linear_packed", {**linear, "M": 2**22}, {})
