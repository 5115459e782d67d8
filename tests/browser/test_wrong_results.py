"""A device that was right at load and goes wrong later: noticed, told, and drawn on otherwise."""

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


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


def go_wrong(library):
    library.page.evaluate("() => { globalThis.faulty = true; }")


def refusal(library):
    go_wrong(library)
    with pytest.raises(LibraryError) as refused:
        library.generate(**REQUEST)
    assert refused.value.name == "WrongResultError"
    assert "safe kernels" in refused.value.message
    return refused.value.message


def test_dropped_dispatches_are_noticed_and_the_safe_kernels_are_remembered(browser, url):
    with Library(browser, url) as library:
        library.page.evaluate(faults.DROPPING)
        assert not library.load()["safe"]
        refusal(library)
        library.page.evaluate("() => { globalThis.faulty = false; }")
        info = library.load()
        assert info["safe"]
        assert {row["reason"] for row in info["kernels"]} == {"another went wrong here before"}
        library.generate(**REQUEST)


@pytest.mark.parametrize("fault", ONE_PERCENT)
def test_a_kernel_that_becomes_one_percent_wrong_is_named(browser, url, fault):
    kernel = ONE_PERCENT[fault][0]
    with Library(browser, url) as library:
        library.page.evaluate(faults.TWINS, ONE_PERCENT[fault])
        library.load(storage="memory")
        library.generate(**REQUEST)  # right so far
        message = refusal(library)
    assert f"computes {kernel} " in message and "expected" in message


@pytest.mark.parametrize("previews", [False, True])
def test_what_is_no_number_is_refused(browser, url, previews):
    with Library(browser, url) as library:
        library.page.evaluate(faults.READS, faults.NAN)
        library.load(storage="memory")
        go_wrong(library)
        with pytest.raises(LibraryError, match="are no numbers .* is NaN") as refused:
            library.generate(previews=previews, **REQUEST)
    assert refused.value.name == "WrongResultError"


def test_a_picture_of_one_colour_is_refused(browser, url):
    with Library(browser, url) as library:
        library.page.evaluate(faults.READS, 0xFF302010)  # as numbers they are finite
        library.load(storage="memory")
        assert "whole picture is of one colour (16, 32, 48)" in refusal(library)


def test_pixels_that_are_no_numbers_are_refused(browser, url):
    """The decoder's fault: the latents are right."""
    with Library(browser, url) as library:
        library.page.evaluate(faults.TWINS, [
            "to_rgba", "x[3u * p], x[3u", "bitcast<f32>(dims.P * 0u + 0x7fc00000u), x[3u"])
        library.load(storage="memory")
        assert "colours of the picture are no numbers (pixel 0 of 2304)" in refusal(library)


def test_a_device_that_is_right_is_never_refused(browser, url):
    with Library(browser, url) as library:
        library.load(storage="memory")
        for seed in range(8):
            drawn = library.generate(**REQUEST | {"seed": seed, "steps": 1})
            assert drawn["timings"]["checkMs"] > 0
        assert library.complaints == []


def test_the_safe_kernels_draw_the_same_picture(browser, url):
    with Library(browser, url) as library:
        fast = library.load(storage="memory")
        want = library.generate(**REQUEST)["rgba"]
        safe = library.load(storage="memory", kernels="safe", precision="int8")
        got = library.generate(**REQUEST)["rgba"]
    assert not fast["safe"] and safe["safe"] and safe["precision"] == "f32"
    assert {row["kernel"] for row in safe["kernels"]} <= {
        "linear_packed", "linear_dense", "attention", "conv2d"}
    assert psnr(got, want.astype(np.float64)) >= 60


def test_a_kernel_that_only_the_check_finds_wrong_gives_way_to_the_safe_ones(browser, url):
    """Right from a weight's first row on, as it is raced; with no other in its place nothing would
    draw."""
    with Library(browser, url) as library:
        faults.alter(library.page, "**/linear_packed_few.wgsl", "(dims.n0 + min(n", "(min(n")
        info = library.load(storage="memory")
        assert info["safe"]
        assert "linear_packed_few" in info["kernels"][0]["reason"]
        library.generate(**REQUEST)
