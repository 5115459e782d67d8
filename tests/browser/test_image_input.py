"""Reference images: the library against diffusers in float32, and what it refuses."""

import json
import math

import numpy as np
import pytest
from diffusers import AutoencoderKLFlux2
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from PIL import Image

from tests.browser.library import Library, LibraryError
from tests.browser.test_parity import MODELS, check, check_stages, psnr
from tests.checkpoints import make_checkpoint
from tests.reference import reference

CASES = {  # shape, sizes of the images, width and height, steps
    "one, a size of its own": ("shallow", [(75, 98)], (56, 40), 2),
    "two of different sizes": ("uneven", [(100, 66), (64, 83)], (64, 48), 1),
    "narrow, no size": ("garden", [(64, 211)], (None, None), 1),
}
REQUEST = {"prompt": "an old pine in the snow", "seed": 7}
REFERENCE_LIMIT = 1e-5  # relative L2 error of a reference's tokens
LEAST_PSNR = 50.0  # dB


def picture(width, height, seed=1):
    """Smooth colours with noise and an edge, u8 [H, W, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 32
    waves = np.stack([np.sin(x + seed), np.cos(y - x), np.sin(2 * y)], axis=-1)
    values = 128 + 80 * waves + 30 * random.standard_normal((height, width, 3))
    values[:, width // 3 : width // 2] += 60
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    def make(shape):
        if shape == "garden":
            return MODELS / "garden-ternary"
        folder = tmp_path_factory.getbasetemp() / f"image-input-{shape}"
        return folder if folder.exists() else make_checkpoint(folder, shape)

    return make


@pytest.mark.parametrize("case", CASES)
def test_picture_matches_diffusers(case, checkpoint, site, server, browser):
    shape, sizes, (width, height), steps = CASES[case]
    folder = checkpoint(shape)
    images = [picture(*size, seed=i) for i, size in enumerate(sizes)]
    request = REQUEST | {"steps": steps, "images": images}
    asked = {"width": width, "height": height} if width else {}
    with Library(browser, server(site(folder, with_image_input=True))) as library:
        library.load(textTokens="padded")
        got = library.generate(tensors=True, **request, **asked)
        assert not library.complaints
    want = reference(folder, **request, width=width, height=height)

    errors = [check(f"reference.{i}", got["seen"][f"reference.{i}"], tokens, REFERENCE_LIMIT)
              for i, tokens in enumerate(want["reference"])]
    assert len(errors) == len(images)
    worst = check_stages(got["seen"], want)
    ratio = psnr(got["rgba"][..., :3], want["picture"])
    print(f"{case}: references {max(errors):.1e}, velocity {worst:.1e}, {ratio:.1f} dB")
    assert ratio >= LEAST_PSNR
