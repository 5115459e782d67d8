"""Previews: what the picture is going to be, after every step."""

from pathlib import Path

import numpy as np

from export.autoencoders.kl_preview import block_means
from tests.browser.library import Library

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
REQUEST = {"prompt": "a red maple bonsai in a round blue pot", "seed": 7, "width": 96, "height": 64,
           "steps": 3}
LEAST_PSNR = 20.0  # dB, of the last one; a matrix of C x 3 is no decoder


def test_previews_come_closer_to_the_picture(browser, site, server):
    with Library(browser, server(site(GARDEN))) as library:
        library.load(storage="memory")
        drawn = library.generate(previews=True, **REQUEST)
        assert library.complaints == []
        plain = library.generate(**REQUEST)
    assert plain["previews"] == [] and np.array_equal(plain["rgba"], drawn["rgba"])
    previews = drawn["previews"]
    assert [(one["step"], one["steps"]) for one in previews] == [(0, 3), (1, 3), (2, 3)]
    want = block_means(drawn["rgba"][..., :3].astype(np.float64), 8)
    errors = []
    for one in previews:
        assert one["rgba"].shape == (8, 12, 4) and (one["rgba"][..., 3] == 255).all()
        errors.append(np.square(one["rgba"][..., :3] - want).mean())
    assert errors == sorted(errors, reverse=True)
    assert 10 * np.log10(255**2 / errors[-1]) >= LEAST_PSNR
