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
  const { TorchNoise } = await import(new URL('models/samplers/noise.js', url));
  return library.encode(new TorchNoise(seed)[name](count));
}"""


@pytest.fixture(scope="module")
def web(server):
    """The address of the sources themselves: these modules need no build."""
    return server(WEB)


@pytest.fixture(scope="module")
def draw(browser, web):
    """draw(method, seed, count) -> f32 [count], from a new generator in the browser."""
    with Library(browser, web) as library:
        def call(name, seed, count):
            encoded = library.page.evaluate(DRAW, [web, name, seed, count])
            return np.frombuffer(base64.b64decode(encoded), "<f4")

        yield call


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_normal_noise(draw, seed, count):
    want = torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed)).numpy()
    np.testing.assert_allclose(draw("normals", seed, count), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_uniforms_bit_for_bit(draw, seed):
    want = torch.rand(5000, generator=torch.Generator("cpu").manual_seed(seed)).numpy()
    np.testing.assert_array_equal(draw("uniforms", seed, 5000), want)


def test_what_is_drawn_goes_on_where_the_last_draw_ended(browser, web):
    """With a tail of its own between: a generator that two samplers' steps draw on."""
    script = """async (url) => {
      const { TorchNoise } = await import(new URL('models/samplers/noise.js', url));
      const noise = new TorchNoise(5);
      return [17, 16, 40].map((count) => library.encode(noise.normals(count)));
    }"""
    with Library(browser, web) as library:
        drawn = library.page.evaluate(script, web)
    generator = torch.Generator("cpu").manual_seed(5)
    for count, encoded in zip([17, 16, 40], drawn, strict=True):
        got = np.frombuffer(base64.b64decode(encoded), "<f4")
        want = torch.randn(count, generator=generator).numpy()
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6, err_msg=f"{count} values")


def test_seeds_differ(draw):
    first, second = (draw("normals", seed, 1000) for seed in (0, 1))
    assert np.abs(first - second).max() > 1


def test_tokens_are_the_planes_transposed(browser, web):
    """A drawing starts from diffusers' [C, height, width] noise, a token per position."""
    script = """async (url) => {
      const { TorchNoise, noiseTokens } = await import(
        new URL('models/samplers/noise.js', url));
      const shape = { channels: 12, height: 3, width: 5 };
      return library.encode(noiseTokens(new TorchNoise(9), shape));
    }"""
    with Library(browser, web) as library:
        encoded = library.page.evaluate(script, web)
    got = np.frombuffer(base64.b64decode(encoded), "<f4").reshape(15, 12)
    planes = torch.randn((1, 12, 3, 5), generator=torch.Generator("cpu").manual_seed(9))
    np.testing.assert_allclose(got, planes.reshape(12, 15).T.numpy(), rtol=0, atol=1e-6)
