"""Whole pictures of small random FLUX.1 models: WebGPU in Chromium against diffusers in float32.

Each model is loaded once and draws all of its cases. `python -m tests.flux1_table` draws more.
"""

import json

import numpy as np
import pytest

from tests.browser.library import Library, LibraryError
from tests.flux1_parity import Model, compare, make
from tests.parity import Case

CASES = {
    Model("dev"): [
        Case("english", 64, 48), Case("chinese", 32, 64, steps=9, guidance=7)],
    Model("schnell", "binary"): [
        Case("overlong", 64, 48), Case("empty", 48, 64, steps=1)],
    Model("own"): [Case("english", 48, 32), Case("overlong", 64, 64, steps=2)],
    Model("static", "binary"): [
        Case("chinese", 20, 36, steps=3, guidance=0), Case("overlong", 32, 20, steps=2)],
}
WRONG = {
    "dev": ({"negativePrompt": "fog"}, "negativePrompt is \"fog\", but this model takes none"),
    "schnell": ({"guidanceScale": 2}, "guidanceScale is 2, but this model takes none"),
    "own": ({"textTokens": "trimmed"}, "textTokens is trimmed, but this model reads padding"),
    "static": ({"width": 21}, "width is 21, expected a multiple of 4: 20 or 24"),
}


@pytest.mark.parametrize("model", CASES, ids=lambda model: model.id)
def test_pictures_match_diffusers(model, once, site, server, browser):
    folder = once(("flux1", model.id), lambda folder: make(folder, model))
    from tests.flux1_reference import reference

    dist = site(folder, text_encoder_bits=16)
    assert "Trimmed" not in (dist / "index.html").read_text(encoding="utf-8")
    with Library(browser, server(dist)) as library:
        info = library.load()
        embedded = model.shape in ("dev", "static")
        assert info["pipeline"]["guidance"]["kind"] == ("embedded" if embedded else "none")
        for case in CASES[model]:
            drawn = library.generate(tensors=True, previews=True, **case.request())
            compare(drawn, reference(folder, **case.reference()))
            check_preview(dist, drawn)
            assert drawn["peakBytes"] == library.plan(**case.request())["peakBytes"]
            assert drawn["tokens"]["limit"] == max(
                prompt["length"] for prompt in manifest_of(dist)["prompts"])
        change, told = WRONG[model.shape]
        with pytest.raises(LibraryError, match=f"InputError: {told}"):
            library.generate(**CASES[model][0].request() | change)
        with pytest.raises(LibraryError, match="InputError: textTokens is trimmed, but this"):
            library.load(textTokens="trimmed")
        assert not library.complaints


def test_streamed_weights_draw_the_same(once, site, server, browser):
    """In more steps than modulations are kept for, in no more memory than is planned."""
    model, (_, case) = Model("dev"), CASES[Model("dev")]
    folder = once(("flux1", model.id), lambda folder: make(folder, model))
    url = server(site(folder, text_encoder_bits=16))
    with Library(browser, url, keeps_kernels=True) as library:
        drawn = []
        for options in ({}, {"memory": "small"}):
            library.load(**options)
            drawn.append(library.generate(**case.request()))
            assert drawn[-1]["peakBytes"] == library.plan(**case.request())["peakBytes"], options
        kept, small = drawn
        np.testing.assert_array_equal(small["rgba"], kept["rgba"])
        assert small["peakBytes"] < kept["peakBytes"]
        assert not library.complaints


def check_preview(dist, drawn):
    """There is one a step; the last one's latents are the picture's, for no noise is left then."""
    manifest = manifest_of(dist)
    fit, norm, (*_, last) = manifest["preview"], manifest["latents"], drawn["previews"]
    steps = [name for name in drawn["seen"] if name.startswith("velocity.")]
    assert len(drawn["previews"]) == len(steps)
    height, width, _ = last["rgba"].shape
    latents = drawn["seen"]["latents"] * norm["scale"] + norm["shift"]
    pixels = latents.reshape(height // 2, width // 2, -1, 2, 2).transpose(0, 3, 1, 4, 2)
    values = pixels.reshape(height, width, -1) @ np.transpose(fit["matrix"]) + fit["bias"]
    colours = np.clip(127.5 * (values + 1), 0, 255)
    assert np.abs(last["rgba"][..., :3] - colours).max() <= 0.51


def manifest_of(dist):
    return json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
