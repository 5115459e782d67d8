"""AutoencoderDC's decoder in NumPy against diffusers', and the matrix of its previews."""

import numpy as np
import pytest

from export.autoencoders.dc_decoder import Decoder
from export.autoencoders.dc_preview import PICTURES, fit_preview, smooth_latents
from export.autoencoders.preview import block_means, reader
from tests.dc_autoencoders import CONFIGS, diffusers_picture, make_autoencoder


@pytest.fixture(scope="module", params=CONFIGS)
def made(request, tmp_path_factory):
    return make_autoencoder(request.param, tmp_path_factory.mktemp(request.param))


def test_decoder_equals_diffusers(made):
    module, component = made
    shape = 5, 7, component.config.latent_channels
    z = np.random.default_rng(1).standard_normal(shape, np.float32)
    got = Decoder(component.config, reader(component.layout)).decode(z)
    want = diffusers_picture(module, z)
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want)


def test_no_other_matrix_fits_better(made):
    """What it leaves of the pictures that it was fitted to has no share of their latents in it."""
    _, component = made
    config, fit = component.config, fit_preview(component)
    decoder = Decoder(config, reader(component.layout))
    random = np.random.default_rng(0)
    latents = [smooth_latents(random, config) for _ in range(PICTURES)]
    colours = [block_means(np.clip(decoder.decode(z), -1, 1), config.scale_factor)
               for z in latents]
    inputs, want = (np.concatenate(part).reshape(-1, part[0].shape[-1])
                    for part in (latents, colours))
    inputs = np.pad(inputs, ((0, 0), (0, 1)), constant_values=1)
    left = want - inputs @ np.hstack([fit["matrix"], np.transpose([fit["bias"]])]).T
    most = np.linalg.norm(inputs, axis=0)[:, None] * np.linalg.norm(want, axis=0)
    assert fit["cell"] == 1 and (np.abs(inputs.T @ left) <= 1e-3 * most).all()
