"""Sigmas and noise without torch: diffusers' and torch's own, as tests/web/goldens has them."""

import hashlib

import numpy as np
import pytest

from export.errors import ExportError
from export.samplers import flow_euler
from export.samplers.noise import torch_randn, uniforms
from tests.web.golden_files import decode, read

SCHEDULE, NOISE = read("schedule"), read("noise")


@pytest.mark.parametrize("tokens", SCHEDULE["of"])
def test_sigmas_are_diffusers(tokens):
    config, want = SCHEDULE["config"], SCHEDULE["of"][tokens]
    for steps, sigmas in want["sigmas"].items():
        got = flow_euler.sigmas(int(steps), int(tokens), config)
        np.testing.assert_array_equal(got, decode(sigmas), err_msg=f"{steps} steps")
    digest = hashlib.sha256()
    for steps in range(1, 51):
        digest.update(flow_euler.sigmas(steps, int(tokens), config).astype("<f4"))
        digest.update(flow_euler.times(steps, int(tokens), config).astype("<f4"))
    assert digest.hexdigest() == want["sha256"]


@pytest.mark.parametrize("one", NOISE["normal"], ids=lambda one: f"{one['seed']}-{one['count']}")
def test_noise_is_torch_s(one):
    got = torch_randn(one["seed"], one["count"])
    assert len(got) == one["count"]
    np.testing.assert_allclose(got[::one["every"]], decode(one["values"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", NOISE["uniform"])
def test_uniforms_bit_for_bit(seed):
    got = uniforms(np.random.RandomState(int(seed) % 2**32), 5000).astype("<f4")
    assert hashlib.sha256(got).hexdigest() == NOISE["uniform"][seed]


def test_fewer_values_than_a_block_are_refused():
    with pytest.raises(ExportError, match="noise of 15 values"):
        torch_randn(0, 15)
