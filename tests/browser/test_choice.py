"""Which kernel computes an op: a wrong one is passed over, a race is run where there is a GPU."""

import numpy as np
import pytest

from tests.browser import faults
from tests.browser.library import Library
from tests.closeness import psnr

REQUEST = {"prompt": "an old pine in the snow", "seed": 7, "width": 48, "height": 48, "steps": 1}
TERNARY = {"BITS": 2, "ZERO": 1, "GROUP": 128, "FORMAT": 1}
# As on a GPU without f16 and with subgroups of four, allowed to use bytes.
RACE = """
async ([constants, earlier]) => {
  const load = (file) => import(new URL(`engine/${file}.js`, library.code));
  const { openDevice, watchDevice } = await load('device');
  const { Kernels } = await load('kernels');
  const { Allocator } = await load('memory');
  const { Ops } = await load('ops');
  const { Choice } = await load('choice');
  const { KERNELS } = await load('selfcheck');
  const { device } = await openDevice();
  const { fetchText } = await import(new URL('loader/fetching.js', library.code));
  const kernels = new Kernels(device, new URL('wgsl/', library.code), fetchText);
  await kernels.load(KERNELS);
  const choice = new Choice({ f16: false, subgroup: 4, dot: true, software: false }, 'int8');
  const ops = new Ops({ device, kernels, choice, watch: watchDevice(device),
    allocator: new Allocator(device, 2 ** 27) });
  choice.pick('linear_packed', constants, { M: 64, N: 64, K: 128 });
  choice.pick('linear_packed', constants, { M: 16, N: 64, K: 128 });
  const winners = new Map(earlier);
  await choice.decide(ops, winners);
  return { table: choice.table, winners: [...winners],
    picked: choice.pick('linear_packed', constants, { M: 16, N: 64, K: 128 }).name };
}
"""
# A race has so many milliseconds; on a busy machine all that is to run in it shall have a turn.
SLOW_CLOCK = """
() => {
  const now = performance.now.bind(performance);
  performance.now = () => now() / 50;
}
"""


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


@pytest.fixture(scope="module")
def library(browser, url):
    """Loaded at first as the device is."""
    with Library(browser, url) as library:
        library.load(storage="memory")
        yield library


@pytest.fixture(scope="module")
def picture(library):
    """What the device draws, undisturbed."""
    return library.generate(**REQUEST)["rgba"]


@pytest.fixture
def altered(library, picture):
    """altered(right, wrong) -> what a load tells when linear_packed_few has this fault."""
    pattern = "**/linear_packed_few.wgsl"

    def load(right, wrong):
        faults.alter(library.page, pattern, right, wrong)
        return library.load(storage="memory")

    yield load
    library.page.unroute(pattern)


@pytest.fixture(scope="module")
def racing(browser, url):
    """A page whose races all have a turn."""
    with Library(browser, url) as library:
        library.page.evaluate(SLOW_CLOCK)
        yield library
        assert library.complaints == []


def test_a_candidate_that_computes_wrongly_is_passed_over(library, picture, altered):
    """The reference kernel takes its place, and the picture is as good."""
    info = altered("partial[lane] = sums;", "partial[lane] = 1.01 * sums;")
    got = library.generate(**REQUEST)["rgba"]
    few = [row for row in info["kernels"] if row["op"].startswith("linear_packed few")]
    assert few and all(row["kernel"] == "linear_packed" for row in few)
    assert all("differs from linear_packed by 0.0" in row["refused"]["linear_packed_few LANES=1"]
               for row in few)
    assert np.abs(got.astype(int) - picture).max() <= 1


def test_a_candidate_that_does_not_compile_is_passed_over(library, altered):
    info = altered("var sums", "var summs")
    library.generate(**REQUEST)
    few = [row for row in info["kernels"] if row["op"].startswith("linear_packed few")]
    assert few and all(row["kernel"] == "linear_packed" for row in few)
    assert all("sums" in row["refused"]["linear_packed few"] for row in few)


def test_the_fastest_right_kernel_wins_and_is_remembered(racing):
    first = racing.page.evaluate(RACE, [TERNARY, []])
    again = racing.page.evaluate(RACE, [TERNARY, first["winners"]])
    [row] = first["table"]
    assert row["reason"] == "fastest" and row["refused"] == {}
    assert {name.split()[0] for name in row["times"]} == {
        "linear_packed", "linear_packed_tiled", "linear_packed_int8"}
    assert row["times"][row["kernel"]] == min(row["times"].values()) > 0
    assert row["kernel"].split()[0] == first["picked"]
    [row] = again["table"]
    assert row["kernel"] == first["table"][0]["kernel"] and row["times"] == {}
    assert row["reason"] in ("won here before", "the reference")


def test_kernels_that_won_on_a_gpu_draw_the_same_picture(racing, picture):
    """Taken for a GPU, the software adapter races tiles in workgroup memory with the rest."""
    racing.page.evaluate(faults.AS_A_GPU)
    info = racing.load(storage="memory")
    got = racing.generate(**REQUEST)["rgba"]
    assert racing.complaints == []
    raced = {name.split()[0] for row in info["kernels"] for name in row["times"]}
    assert {"linear_packed_tiled", "attention", "attention_tiled", "conv2d", "conv2d_tiled"} <= (
        raced)
    assert "fastest" in {row["reason"] for row in info["kernels"]}
    assert all(row["refused"] == {} for row in info["kernels"])
    assert psnr(got, picture.astype(np.float64)) >= 50
