"""A device that was right at load and goes wrong later: noticed, told, and drawn on otherwise."""

import re

import numpy as np
import pytest

from tests.browser import faults
from tests.browser.library import Library, LibraryError
from tests.closeness import psnr

REQUEST = {"prompt": "an old pine in the snow", "seed": 5, "width": 48, "height": 48, "steps": 2}
ONE_PERCENT = {
    "rms_norm": ["rms_norm", "1.0 / sqrt(", "1.01 / sqrt("],
    "rotation": ["rms_norm_rope", "a * angle.x", "1.01 * a * angle.x"],
    "convolution": ["conv2d", "values[j] + bias", "1.01 * values[j] + bias"],
    "linear": ["linear_packed", "default: { y[at] = r; }", "default: { y[at] = 1.01 * r; }"],
}
NO_COLOURS = ["to_rgba", "x[3u * p], x[3u", "bitcast<f32>(dims.P * 0u + 0x7fc00000u), x[3u"]
ONE_COLOUR = 0xFF302010  # as numbers they are finite


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


@pytest.fixture(scope="module")
def library(browser, url):
    """A loaded pipeline which is right until `faulty` names what is to be wrong."""
    with Library(browser, url) as library:
        library.page.evaluate(faults.DROPPING)
        for twin in [*ONE_PERCENT.values(), NO_COLOURS]:
            library.page.evaluate(faults.TWINS, twin)
        for word in (faults.NAN, ONE_COLOUR):
            library.page.evaluate(faults.READS, word)
        assert not library.load()["safe"]
        library.right = library.generate(**REQUEST)
        yield library


def refusal(library, faulty, **hooks):
    library.page.evaluate("(faulty) => { globalThis.faulty = faulty; }", faulty)
    with pytest.raises(LibraryError) as refused:
        library.generate(**REQUEST, **hooks)
    library.page.evaluate("() => { globalThis.faulty = false; }")
    assert refused.value.name == "WrongResultError"
    assert "safe kernels" in refused.value.message
    return refused.value.message


@pytest.mark.parametrize("fault", ONE_PERCENT)
def test_a_kernel_that_becomes_one_percent_wrong_is_named(library, fault):
    kernel = ONE_PERCENT[fault][0]
    message = refusal(library, kernel)
    assert f"computes {kernel} " in message and "expected" in message


@pytest.mark.parametrize("previews", [False, True])
def test_what_is_no_number_is_refused(library, previews):
    message = refusal(library, faults.NAN, previews=previews)
    assert re.search("are no numbers .* is NaN", message)


def test_a_picture_of_one_colour_is_refused(library):
    assert "whole picture is of one colour (16, 32, 48)" in refusal(library, ONE_COLOUR)


def test_pixels_that_are_no_numbers_are_refused(library):
    """The decoder's fault: the latents are right."""
    message = refusal(library, NO_COLOURS[0])
    assert "colours of the picture are no numbers (pixel 0 of 2304)" in message


def test_a_device_that_is_right_is_never_refused(library):
    library.complaints.clear()
    for seed in range(8):
        drawn = library.generate(**REQUEST | {"seed": seed, "steps": 1})
        assert drawn["timings"]["checkMs"] > 0
    assert library.complaints == []


def test_dropped_dispatches_are_noticed_and_the_safe_kernels_are_remembered(library):
    """And draw the same picture."""
    refusal(library, "dispatches")
    info = library.load()
    assert info["safe"]
    assert {row["reason"] for row in info["kernels"]} == {"another went wrong here before"}
    got = library.generate(**REQUEST)["rgba"]
    assert psnr(got, library.right["rgba"].astype(np.float64)) >= 60


def test_the_safe_kernels_may_be_asked_for(library):
    info = library.load(storage="memory", kernels="safe", precision="int8")
    assert info["safe"] and info["precision"] == "f32"
    assert {row["kernel"] for row in info["kernels"]} <= {
        "linear_packed", "linear_dense", "attention", "conv2d"}
    got = library.generate(**REQUEST)["rgba"]
    assert psnr(got, library.right["rgba"].astype(np.float64)) >= 60


def test_a_kernel_that_only_the_check_finds_wrong_gives_way_to_the_safe_ones(browser, url):
    """Right from a weight's first row on, as it is raced; with no other in its place nothing would
    draw."""
    with Library(browser, url) as library:
        faults.alter(library.page, "**/linear_packed_few.wgsl", "(dims.n0 + min(n", "(min(n")
        info = library.load(storage="memory")
        assert info["safe"]
        assert "linear_packed_few" in info["kernels"][0]["reason"]
        library.generate(**REQUEST)
