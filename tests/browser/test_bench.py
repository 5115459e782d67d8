"""bench.html without anything to compare with: every headline row, a model's pictures, briefly."""

import json
import math

import pytest
from playwright.sync_api import expect

from tests.dist import code_url

HEADLINE = {"ternary-m256", "ternary-m1", "conv", "attention"}
OTHERS = [  # what other families ask for
    "sana-3x3-depth-wise-convolution-of-2-x-5600-gated-16x16",
    "sana-linear-attention-256-tokens-70-heads-of-32",
    "sana-5x5-depth-wise-convolution-of-3072-32x32",
    "sana-1x1-convolution-in-groups-of-32-3072-channels-32x32",
    "sana-attention-256-tokens-to-300-20-heads-of-112", "sana-rms-norm-16384-x-512-bias",
    "sana-attention-300-tokens-8-heads-of-256-causal-capped-at-50",
    "sana-rope-300-tokens-8-heads-of-256-halves",
    "flux1-attention-256-tokens-64-heads-of-64-bias", "flux1-layer-norm-77-x-768",
]
BIASED = "sana-bf16-linear-m=1-k=256-n=2240-bias-silu"
LIMITS = {"f32": 1e-5, "f16": 1e-2, "int8": 5e-2}  # of the bench's error: largest over rms


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow"))) + "bench.html"


@pytest.fixture(scope="module")
def visit(browser, url):
    """visit(query) -> (page when the bench is done, what the console said)."""
    contexts = []

    def open_page(query):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        logged = []
        page.on("console", lambda message: message.type in ("error", "warning")
                and logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.goto(f"{url}?{query}")
        page.wait_for_selector("[data-phase=done], [data-phase=failed]")
        return page, logged

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def timed(visit):
    return visit("run&rows=headline,pipeline&samples=1&sampleMs=1&precisions=f32")


@pytest.fixture(scope="module")
def results(timed):
    return results_of(timed)


@pytest.fixture(scope="module")
def named(visit):
    """Of rows that the query names, in another order."""
    return visit(f"run&rows={','.join([BIASED, *OTHERS])}&samples=1&sampleMs=1")


def results_of(visited):
    page, _ = visited
    return json.loads(page.get_by_role("textbox", name="Results as JSON").input_value())


def test_nothing_is_logged(timed):
    page, logged = timed
    assert page.get_by_role("status").inner_text().startswith("Done")
    assert logged == []


def test_every_row_has_times(results):
    assert {row["id"] for row in results["rows"]} == HEADLINE
    for row in results["rows"]:
        for line in row["lines"]:
            assert "failed" not in line, line
            for figure in (line["gflops"], row["bytes"], *line["timing"].values()):
                assert figure > 0 and math.isfinite(figure), line
            assert line["error"] < LIMITS[line["precision"]], line
    assert any(len(row["lines"]) > 1 for row in results["rows"])


def test_pictures_have_times_and_a_peak(results):
    [picture] = results["pictures"]
    times = {line["name"]: line["timing"]["medianMs"] for line in picture["lines"]}
    assert times.keys() == {"encode", "step", "decode", "picture"}
    assert all(time > 0 and math.isfinite(time) for time in times.values())
    parts = times["encode"] + picture["steps"] * times["step"] + times["decode"]
    assert parts < 2 * times["picture"]
    assert picture["peakBytes"] > 1e6


def test_table_shows_the_rows(timed, results):
    page, _ = timed
    ops = page.get_by_role("table", name="Ops")
    for row in results["rows"]:
        assert ops.get_by_role("rowheader", name=row["label"]).is_visible()
    lines = sum(len(row["lines"]) for row in results["rows"])
    assert ops.locator("tr.ours").count() == lines
    assert "NaN" not in ops.inner_text()
    assert page.get_by_role("table", name="Pictures").is_visible()
    assert page.get_by_role("button", name="Copy JSON").is_visible()


def test_the_studio_tells_what_a_step_takes_at_the_rate_that_was_measured(timed, browser, url):
    """From the same adapter's bench alone."""
    studio = url.removesuffix("bench.html")
    for context, told in ((timed[0].context, "at the rate that the bench measured"),
                          (browser.new_context(), "the bench tells")):
        page = context.new_page()
        page.goto(studio)
        page.get_by_text("This device and the model").click()
        expect(page.locator("#device-rows")).to_contain_text(told)
        link = page.get_by_role("link", name="Measure this device")
        expect(link).to_be_visible(visible=told == "the bench tells")
        page.close()


def test_a_linear_with_a_bias_and_an_activation(named):
    """Its elements are those of the float64 product, with both."""
    [row] = [row for row in results_of(named)["rows"] if row["id"] == BIASED]
    assert "+ bias, silu (time embedding)" in row["label"]
    [line] = row["lines"]
    assert line["error"] < LIMITS["f32"] and line["timing"]["medianMs"] > 0


def test_what_other_families_ask_for(named):
    rows = [row for row in results_of(named)["rows"] if row["id"] != BIASED]
    assert [row["id"] for row in rows] == OTHERS
    for row in rows:
        assert row["lines"] and all(
            line["error"] < LIMITS["f32"] and line["timing"]["medianMs"] > 0
            for line in row["lines"]), row
    assert named[1] == []


def test_unknown_row_is_named(visit):
    page, _ = visit("run&rows=linear-m7")
    assert "linear-m7" in page.get_by_role("status").inner_text()


def test_run_button_times_what_is_chosen_and_stops(visit):
    page, logged = visit("run&rows=flux1-layer-norm-77-x-768&samples=1&sampleMs=1")
    page.get_by_role("checkbox", name="Ops of shallow").check()
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("[data-phase=done]")
    assert "Stopped" in page.get_by_role("status").inner_text()
    assert logged == []


HALVES = """
async (url) => {
  const { fromHalves, toHalves } = await import(new URL('bench/halves.js', url));
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const values = new Float32Array(new Float16Array(all.buffer));
  // Between two halves, a little below and above the middle, and beyond all of them.
  const between = Float32Array.from(values, (value, i) => (value + values[i + 1]) / 2);
  const given = Float32Array.from([...between, ...between.map((v) => v * (1 + 1e-6)),
    ...between.map((v) => v * (1 - 1e-6)), 65519, 65520, 1e9, -1e9, 1e-9, 2 ** -25]);
  const want = new Uint16Array(new Float16Array(given).buffer);
  const same = (got, wanted) => got.every((value, i) => Object.is(value, wanted[i]));
  return [same(fromHalves(all), values), same(new Float32Array(fromHalves(toHalves(given))),
    fromHalves(want))];
}
"""


def test_halves_are_those_of_browsers_that_have_them(timed, url):
    page, _ = timed
    assert page.evaluate(HALVES, code_url(url)) == [True, True]
