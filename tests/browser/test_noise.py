"""Seeds: the same numbers as torch's CPU generator, straight from web/models/samplers/noise.js."""

import base64
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.browser.library import Library

WEB = Path(__file__).resolve().parents[2] / "web"
SEEDS = [0, 1, 2**32, 2**32 + 5, 2**53 - 1]
COUNTS = [16, 17, 31, 1000, 131072]
DRAW = """async ([url, name, seed, count]) => {
  const noise = await import(new URL('models/samplers/noise.js', url));
  return library.encode(noise[name](seed, count));
}"""


@pytest.fixture(scope="module")
def web(server):
    """The address of the sources themselves: these modules need no build."""
    return server(WEB)


@pytest.fixture(scope="module")
def draw(browser, web):
    """draw(function, seed, count) -> f32 [count], from noise.js in the browser."""
    with Library(browser, web) as library:
        def call(name, seed, count):
            encoded = library.page.evaluate(DRAW, [web, name, seed, count])
            return np.frombuffer(base64.b64decode(encoded), "<f4")

        yield call


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_normal_noise(draw, seed, count):
    want = torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed)).numpy()
    np.testing.assert_allclose(draw("torchRandn", seed, count), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_uniforms_bit_for_bit(draw, seed):
    want = torch.rand(5000, generator=torch.Generator("cpu").manual_seed(seed)).numpy()
    np.testing.assert_array_equal(draw("uniforms", seed, 5000), want)


def test_seeds_differ(draw):
    first, second = (draw("torchRandn", seed, 1000) for seed in (0, 1))
    assert np.abs(first - second).max() > 1


def test_tokens_are_the_planes_transposed(browser, web):
    """A drawing starts from diffusers' [C, height, width] noise, a token per position."""
    script = """async (url) => {
      const { noiseTokens } = await import(new URL('models/samplers/noise.js', url));
      return library.encode(noiseTokens(9, { channels: 12, height: 3, width: 5 }));
    }"""
    with Library(browser, web) as library:
        encoded = library.page.evaluate(script, web)
    got = np.frombuffer(base64.b64decode(encoded), "<f4").reshape(15, 12)
    planes = torch.randn((1, 12, 3, 5), generator=torch.Generator("cpu").manual_seed(9))
    np.testing.assert_allclose(got, planes.reshape(12, 15).T.numpy(), rtol=0, atol=1e-6)
