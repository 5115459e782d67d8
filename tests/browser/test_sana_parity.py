"""Whole pictures of small random Sana models: WebGPU in Chromium against diffusers in float32.

Each model is loaded once and draws all of its cases. `python -m tests.sana_table` draws more.
"""

import json

import numpy as np
import pytest

from tests.browser.library import LibraryError
from tests.parity import Case
from tests.sana_parity import NEGATIVE, Model, compare, make

CASES = {
    Model("heads"): [
        Case("english", 64, 32, steps=2),
        Case("chinese", 32, 64, steps=3, negative=NEGATIVE)],
    Model("wide", "binary"): [
        Case("overlong", 96, 64), Case("empty", 64, 96, steps=1, guidance=1)],
    Model("normed", "ternary", "euler"): [
        Case("english", 96, 64, steps=3), Case("overlong", 64, 64, steps=2, guidance=1)],
    Model("sprint", "binary"): [
        Case("english", 96, 64), Case("chinese", 64, 96, steps=1, guidance=2),
        Case("empty", 64, 64, steps=4)],
    Model("biased"): [Case("chinese", 64, 32, steps=20), Case("empty", 32, 64)],
}
WRONG = {
    "sprint": ({"negativePrompt": "fog"}, "negativePrompt is \"fog\", but this model takes none"),
    "heads": ({"guidanceScale": -1}, "guidanceScale is -1, expected a number from 0 on"),
    "wide": ({"width": 40}, "width is 40, expected a multiple of 16: 32 or 48"),
    "normed": ({"images": []}, None),
    "biased": ({"steps": 51}, "steps is 51"),
}


@pytest.mark.parametrize("model", CASES, ids=lambda model: model.id)
def test_pictures_match_diffusers(model, once, site, gathered):
    folder = once(("sana", model.id), lambda folder: make(folder, model))
    from tests.sana_reference import reference

    dist = site(folder, text_encoder_bits=16)
    library, manifest = gathered(dist)
    info = library.load(manifest)
    sprint = model.shape == "sprint"
    assert info["pipeline"]["guidance"]["kind"] == ("embedded" if sprint else "cfg")
    assert info["pipeline"]["guidance"]["negative"] != sprint
    for case in CASES[model]:
        drawn = library.generate(tensors=True, previews=True, **case.request())
        check_preview(dist, drawn)
        compare(drawn, reference(folder, **case.reference()))
        if model.shape != "heads":  # whose decoder, so shallow, is not what takes the most
            assert drawn["stageBytes"]["decode"] == drawn["peakBytes"]
            assert drawn["peakBytes"] == library.plan(**case.request())["peakBytes"]
    change, told = WRONG[model.shape]
    if told:
        with pytest.raises(LibraryError, match=f"InputError: {told}"):
            library.generate(**CASES[model][0].request() | change)
    assert not library.complaints


def check_preview(dist, drawn):
    """There is one a step; the last one's latents are the picture's, for no noise is left then."""
    manifest = json.loads((dist / "model" / "manifest.json").read_text())
    fit, (*_, last) = manifest["preview"], drawn["previews"]
    assert len(drawn["previews"]) == sum(name.startswith("velocity.") and name[9:].isdigit()
                                         for name in drawn["seen"])
    values = drawn["seen"]["latents"] * manifest["latents"]["scale"] @ np.transpose(fit["matrix"])
    colours = np.clip(127.5 * (values + fit["bias"] + 1), 0, 255)
    assert np.abs(last["rgba"][..., :3].reshape(-1, 3) - colours).max() <= 0.51
