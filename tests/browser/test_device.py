"""What the engine asks of a device: default limits, correct kernels, one stage at a time."""

import re

import numpy as np
import pytest

from tests.browser import faults
from tests.browser.library import Library, LibraryError

REQUEST = {"prompt": "an old pine in the snow", "seed": 5, "width": 64, "height": 48, "steps": 2}
DEFAULT_LIMITS = """
() => {
  const open = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = function ({ label }) { return open.call(this, { label }); };
}
"""


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


@pytest.fixture(scope="module")
def picture(browser, url):
    with Library(browser, url) as library:
        library.load(storage="memory")
        return library.generate(**REQUEST)


def test_default_limits_suffice(browser, url, picture):
    with Library(browser, url) as library:
        library.page.evaluate(DEFAULT_LIMITS)
        library.load(storage="memory")
        again = library.generate(**REQUEST)
    assert np.array_equal(again["rgba"], picture["rgba"])


def test_stages_are_freed_when_they_exceed_the_budget(browser, url, picture):
    with Library(browser, url) as library:
        library.load(storage="memory", memoryBudget=0)
        once, again = library.generate(**REQUEST), library.generate(**REQUEST)
    assert np.array_equal(once["rgba"], picture["rgba"])
    assert np.array_equal(again["rgba"], picture["rgba"])
    assert once["peakBytes"] == again["peakBytes"] < picture["peakBytes"]


@pytest.mark.parametrize("kernel, right, wrong", [
    ("rms_norm", "1.0 / sqrt(", "1.01 / sqrt("),
    ("linear_packed", "ga[0] * s0[0]", "1.01 * ga[0] * s0[0]"),
    ("unpack_trits", "rest % 3u", "rest % 2u"),
])
def test_a_kernel_that_computes_wrongly_is_refused(browser, url, kernel, right, wrong):
    """As a driver would get it wrong: nothing is downloaded, both numbers are told."""
    fetched = []

    with Library(browser, url) as library:
        faults.alter(library.page, f"**/{kernel}.wgsl", right, wrong)
        library.page.on("request", lambda request: fetched.append(request.url))
        with pytest.raises(LibraryError) as refused:
            library.load(storage="memory")
    assert refused.value.name == "UnsupportedError"
    assert re.search(rf"{kernel} .* is [-\d.e]+, expected [-\d.e]+", refused.value.message)
    assert not [address for address in fetched if address.endswith(".bin")]
