"""Seeds without torch: the same numbers as its CPU generator."""

import numpy as np
import pytest
import torch

from export.errors import ExportError
from export.samplers.noise import torch_randn, uniforms


@pytest.mark.parametrize("count", [16, 17, 31, 1000, 131072])
@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**32 + 5, 2**53 - 1])
def test_normal_noise(seed, count):
    want = torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed)).numpy()
    np.testing.assert_allclose(torch_randn(seed, count), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_uniforms_bit_for_bit(seed):
    want = torch.rand(5000, generator=torch.Generator("cpu").manual_seed(seed)).numpy()
    assert (uniforms(np.random.RandomState(seed), 5000) == want).all()


def test_fewer_values_than_a_block_are_refused():
    with pytest.raises(ExportError, match="noise of 15 values"):
        torch_randn(0, 15)
