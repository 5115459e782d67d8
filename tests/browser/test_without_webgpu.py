"""Pictures from the ONNX graphs in the page, where the browser has no WebGPU."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.library import Library, LibraryError
from tests.browser.studio import Visit
from tests.closeness import psnr, relative_error
from tests.reference import reference

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
REQUEST = {"prompt": "a red maple bonsai in a round blue pot", "seed": 7, "width": 96, "height": 64,
           "steps": 2}
LEAST_PSNR = 45.0  # dB, of diffusers in float32


@pytest.fixture(scope="module")
def dist(site):
    return site(GARDEN, onnx=True)


@pytest.fixture(scope="module")
def drawn(browsers, url):
    """A picture with its stages of a browser without an adapter."""
    with Library(browsers(), url) as library:
        info = library.load(storage="memory")
        drawn = library.generate(tensors=True, **REQUEST)
        again = library.generate(**REQUEST)
        assert set(library.complaints) == {"No available adapters."}  # Chromium's own word
        with pytest.raises(LibraryError, match="Reference images need WebGPU"):
            library.generate(images=[np.zeros((64, 64, 3), np.uint8)], **REQUEST)
        with pytest.raises(LibraryError, match="AbortError"):
            library.generate(cancel_at={"stage": "denoise", "step": 1}, **REQUEST | {"steps": 50})
        with pytest.raises(LibraryError, match="expected a multiple of 16"):
            library.generate(**REQUEST | {"width": 50})
        assert library.plan(width=64, height=64, steps=2) == {"peakBytes": 0}
    assert info["engine"] == "onnxruntime" and info["device"]["architecture"] == "wasm"
    assert np.array_equal(drawn["rgba"], again["rgba"])
    return drawn


def test_library_draws_the_same_picture_and_stages(drawn):
    want = reference(GARDEN, **REQUEST)
    assert psnr(drawn["rgba"][..., :3], want["picture"]) >= LEAST_PSNR
    for name in ("encoder_rows", "latents", "decoded"):
        got = drawn["seen"][name]
        assert relative_error(got.reshape(want[name].shape), want[name]) <= 1e-4, name
    stages = [event["stage"] for event in drawn["progress"]]
    assert stages == ["encode", "denoise", "denoise", "decode", "decode"]
    assert drawn["progress"][-1]["fraction"] == 1 and len(drawn["timings"]["stepMs"]) == 2


def test_both_engines_draw_one_picture(browser, url, drawn):
    with Library(browser, url) as library:
        assert library.load(storage="memory", engine="webgpu")["engine"] == "webgpu"
        other = library.generate(**REQUEST)["rgba"]
    assert psnr(drawn["rgba"], other) >= LEAST_PSNR


def test_a_site_without_graphs_says_so(browser, site, server):
    with Library(browser, server(site(GARDEN))) as library:
        with pytest.raises(LibraryError, match="build it with --onnx"):
            library.load(engine="onnxruntime")


def test_studio_draws_and_says_that_it_is_slow(plain, url):
    studio = Visit(plain, f"{url}?prompt=a+pine&seed=7&width=64&height=64&steps=1")
    studio.loaded()
    expect(studio.page.locator("#hint")).to_contain_text("draws on the processor")
    expect(studio.page.get_by_role("alert")).to_be_hidden()
    studio.button("Generate").click()
    expect(studio.picture()).to_have_attribute("alt", "a pine")
    assert "Peak GPU memory" not in studio.page.locator("#timings").inner_text()
    fetched = [made for made in studio.requested if made.endswith((".bin", ".onnx_data"))]
    assert fetched and all("/onnx/" in made for made in fetched)
    assert set(studio.logged) <= {"No available adapters."}
