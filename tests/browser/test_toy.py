"""A family of the tests' own, from a checkpoint to a picture: tests/toy/ and no generic file."""

from pathlib import Path

import numpy as np
import pytest

from build import main
from export.families import FAMILIES
from export.samplers.flow_euler import sigmas
from tests.browser.library import Library, LibraryError
from tests.closeness import relative_error
from tests.dist import code_url
from tests.export.packed import PackedSite
from tests.toy.checkpoint import Toy
from tests.toy.family import TOY

SCRIPT = Path(__file__).resolve().parents[1] / "toy" / "toy.js"
REQUEST = {"prompt": "an old pine in the snow", "seed": 7, "width": 64, "height": 48, "steps": 3}
NEGATIVE, SCALE = "a grey wall", 2.5
LIMIT = 1e-4  # relative L2 error, f32 against float64


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    return built(tmp_path_factory.mktemp("toy"), guided=False)


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """The site of the same model in a pipeline with guidance."""
    return built(tmp_path_factory.mktemp("guided"), guided=True, guidance_scale=SCALE)


def built(folder, guided, **call):
    """Built by the command line's own function, the family being registered for as long."""
    checkpoint = Toy().write(folder / "model", guided=guided, **call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, TOY.name, TOY)
        assert main(["--model", str(checkpoint), "--out", str(folder / "dist")]) == 0
    return folder / "dist"


def register(library):
    """Adds the toy family to those of the page."""
    url = library.url
    library.page.route(url + "toy.js", lambda route: route.fulfill(
        body=SCRIPT.read_text(encoding="utf-8"), content_type="text/javascript"))
    library.page.evaluate("async ([url, code]) => (await import(`${url}toy.js`)).register(code)",
                          [url, code_url(url)])


def expected(dist, seen, steps, scale=None):
    """Velocities and latents in float64, from the noise and the encoder's rows; guided with a
    scale."""
    site = PackedSite(dist)
    proj, text_proj = (site.weight(f"transformer.{name}.weight") for name in ("proj", "text_proj"))
    texts = ["encoder_rows", *(["negative.encoder_rows"] if scale else [])]
    biases = [text_proj @ seen[name].astype(float).mean(axis=0) for name in texts]
    x = seen["noise"].astype(float)
    times = sigmas(steps, len(x), site.manifest["sampler"]["config"]).astype(float)
    velocities = []
    for now, then in zip(times, times[1:], strict=False):
        prompt, *negative = (x @ proj.T + bias for bias in biases)
        v = negative[0] + scale * (prompt - negative[0]) if negative else prompt
        velocities.append(v)
        x = x + (then - now) * v
    return velocities, x


def check(dist, drawn, scale=None):
    seen = drawn["seen"]
    velocities, latents = expected(dist, seen, REQUEST["steps"], scale)
    for step, want in enumerate(velocities):
        assert relative_error(seen[f"velocity.{step}"], want) <= LIMIT, f"velocity.{step}"
    assert relative_error(seen["latents"], latents) <= LIMIT


def test_a_family_that_tests_add_is_built_told_where_it_lacks_and_drawn(dist, server, browser):
    with Library(browser, server(dist)) as library:
        with pytest.raises(LibraryError, match="ModelError: .* the family toy; .*flux2"):
            library.load()
        register(library)
        info = library.load()
        drawn = library.generate(tensors=True, **REQUEST)
        assert not library.complaints
        assert library.plan(**REQUEST)["peakBytes"] == drawn["peakBytes"]
        with pytest.raises(LibraryError, match="InputError: .* family toy draws from no reference"):
            library.generate(images=[np.zeros((64, 64, 3), np.uint8)], **REQUEST)
    assert info["family"] == "toy" and info["pipeline"]["guidance"]["kind"] == "none"
    assert drawn["rgba"].shape == (48, 64, 4) and drawn["rgba"][..., :3].std() > 1
    check(dist, drawn)


def test_guidance_is_the_loop_s(guided, server, browser):
    """Two velocities a step, of the prompt and of a negative one, mixed by the scale."""
    with Library(browser, server(guided)) as library:
        register(library)
        info = library.load()
        drawn = library.generate(tensors=True, negativePrompt=NEGATIVE, **REQUEST)
        plan = library.plan(negativePrompt=NEGATIVE, **REQUEST)
        empty = library.generate(tensors=True, guidanceScale=7, **REQUEST)
        plain = library.generate(tensors=True, guidanceScale=1, **REQUEST)
        with pytest.raises(LibraryError, match="InputError: guidanceScale is -1"):
            library.generate(guidanceScale=-1, **REQUEST)
        assert not library.complaints
    assert info["pipeline"]["guidance"] == {"kind": "cfg", "scale": SCALE, "negative": True}
    assert plan["peakBytes"] == drawn["peakBytes"]
    check(guided, drawn, SCALE)
    check(guided, empty, 7)
    assert "negative.encoder_rows" not in plain["seen"]
    check(guided, plain)
    pictures = [one["rgba"].astype(float) for one in (drawn, empty, plain)]
    assert np.abs(pictures[0] - pictures[2]).max() > 8
    assert np.abs(pictures[1] - pictures[2]).max() > 8
