"""What the engine asks of a device: default limits, correct kernels, one stage at a time."""

import re
from contextlib import contextmanager

import numpy as np
import pytest

from tests.browser import faults
from tests.browser.library import Library, LibraryError

REQUEST = {"prompt": "an old pine in the snow", "seed": 5, "width": 64, "height": 48, "steps": 2}
DEFAULT_LIMITS = """
() => {
  const open = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = function ({ label }) { return open.call(this, { label }); };
  globalThis.raise = () => { GPUAdapter.prototype.requestDevice = open; };
}
"""


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


@pytest.fixture(scope="module")
def library(browser, url):
    with Library(browser, url) as library:
        yield library


@pytest.fixture(scope="module")
def picture(library):
    library.load(storage="memory")
    return library.generate(**REQUEST)


def test_default_limits_suffice(library, picture):
    library.page.evaluate(DEFAULT_LIMITS)
    library.load(storage="memory")
    library.page.evaluate("() => raise()")
    again = library.generate(**REQUEST)
    assert np.array_equal(again["rgba"], picture["rgba"])


def test_stages_are_freed_when_they_exceed_the_budget(library, picture):
    library.load(storage="memory", memoryBudget=0)
    once, again = library.generate(**REQUEST), library.generate(**REQUEST)
    assert np.array_equal(once["rgba"], picture["rgba"])
    assert np.array_equal(again["rgba"], picture["rgba"])
    assert once["peakBytes"] == again["peakBytes"] < picture["peakBytes"]


@contextmanager
def altered(page, kernel, right, wrong):
    """Of the page's kernels one is wrong meanwhile; yields the addresses that are fetched."""
    fetched = []
    pattern, note = f"**/{kernel}.wgsl", lambda request: fetched.append(request.url)
    faults.alter(page, pattern, right, wrong)
    page.on("request", note)
    yield fetched
    page.remove_listener("request", note)
    page.unroute(pattern)


@pytest.mark.parametrize("kernels, kernel, right, wrong", [
    ("auto", "rms_norm", "1.0 / sqrt(", "1.01 / sqrt("),
    ("safe", "linear_packed", "ga[0] * s0[0]", "1.01 * ga[0] * s0[0]"),
    ("safe", "unpack_trits", "rest % 3u", "rest % 2u"),
])
def test_a_kernel_that_computes_wrongly_is_refused(library, kernels, kernel, right, wrong):
    """As a driver would get it wrong: nothing is downloaded, both numbers are told."""
    with altered(library.page, kernel, right, wrong) as fetched:
        with pytest.raises(LibraryError) as refused:
            library.load(storage="memory", kernels=kernels)
    assert refused.value.name == "UnsupportedError"
    assert re.search(rf"{kernel} .* is [-\d.e]+, expected [-\d.e]+", refused.value.message)
    assert fetched and not [address for address in fetched if address.endswith(".bin")]
