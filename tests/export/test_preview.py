"""The decoder in NumPy against diffusers', and the matrix that previews are made with."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.autoencoders.kl_decoder import Decoder
from export.autoencoders.kl_preview import (
    block_means,
    fit_preview,
    reader,
    smooth_tokens,
    unpatchify,
)
from export.finding import find_model
from export.opening import open_model
from tests.checkpoints import make_checkpoint
from tests.reference import load_autoencoder

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"


@pytest.fixture(scope="module", params=["shallow", "uneven"])
def checkpoint(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("preview") / "model", request.param)


def test_decoder_equals_diffusers(checkpoint):
    component = open_model(find_model(str(checkpoint), None), None).components["autoencoder"]
    channels = component.config.latent_channels
    z = np.random.default_rng(1).standard_normal((6, 10, channels)).astype(np.float32)
    got = Decoder(component.config, reader(component.layout)).decode(z)
    with torch.no_grad():
        sample = torch.from_numpy(z.transpose(2, 0, 1)[None].copy())
        want = load_autoencoder(checkpoint / "vae").decode(sample).sample[0].numpy()
    want = want.transpose(1, 2, 0)
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want)


def test_fit_explains_what_the_decoder_makes_of_smooth_latents():
    component = open_model(find_model(str(GARDEN), None), None).components["autoencoder"]
    fit = fit_preview(component)
    assert fit == fit_preview(component)
    read = reader(component.layout)
    tokens = smooth_tokens(np.random.default_rng(2), component.config.latent_channels)
    z = unpatchify(tokens * np.sqrt(read("bn.running_var")) + read("bn.running_mean"))
    want = block_means(np.clip(Decoder(component.config, read).decode(z), -1, 1), 8)
    got = z @ np.array(fit["matrix"]).T + fit["bias"]
    unexplained = np.square(got - want).sum() / np.square(want - want.mean(axis=(0, 1))).sum()
    assert unexplained < 0.15


def test_unpatchify_and_block_means():
    tokens = np.arange(2 * 3 * 8, dtype=np.float32).reshape(2, 3, 8)
    z = unpatchify(tokens)
    assert z.shape == (4, 6, 2)
    for (row, column, channel), value in np.ndenumerate(z):
        part = 4 * channel + 2 * (row % 2) + column % 2
        assert value == tokens[row // 2, column // 2, part]
    pixels = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
    assert np.array_equal(block_means(pixels, 2)[0, 1], pixels[:2, 2:].mean(axis=(0, 1)))
