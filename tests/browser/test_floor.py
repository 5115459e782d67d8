"""The oldest browser that draws: what is younger is not used, or is done without."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import faults, oldest, young
from tests.browser.studio import Visit
from tests.conftest import launch

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
REQUEST = "prompt=a+pine&seed=7&width=64&height=48&steps=1&run"


@pytest.fixture(scope="module")
def url(site, server):
    return server(site(GARDEN))


def test_nothing_younger_is_used_unless_the_code_does_without_it():
    used = {}
    for path, text in young.sources():
        for name in young.uses(text):
            used.setdefault(name, []).append(path)
    assert used == young.WITHOUT


@pytest.mark.parametrize("text", [
    "adapter.info", "navigator.gpu.wgslLanguageFeatures", "AbortSignal.any([a, b])",
    "await Array.fromAsync(x)", "URL.canParse(x)", "map.values().map(f)", "new Float16Array(3)",
    "await response.bytes()", "for await (const chunk of response.body) {", "a.union(b)",
    "import x from './x.json' with { type: 'json' };", "color: light-dark(red, blue)",
    "bytes.toBase64()", "const { promise } = Promise.withResolvers();",
])
def test_the_list_knows_its_names(text):
    assert young.uses(text)


@pytest.mark.parametrize("text", [
    "picture.info", "Array.from(x)", "JSON.parse(x)", "shard.bytes", "[...map.values()].map(f)",
    "try { work(); }", "Promise.any(x)", "for await (const piece of pieces) {", "state.union",
])
def test_the_list_leaves_older_names_alone(text):
    assert young.uses(text) == []


def draws(visit):
    expect(visit.picture()).to_have_attribute("alt", "a pine")
    expect(visit.page.get_by_role("alert")).to_be_hidden()
    assert visit.logged == []


@pytest.mark.parametrize("names", [
    young.every_name(),
    *([[owner, name]] for owner, name, _ in young.NAMES if name in young.WITHOUT),
], ids=lambda names: names[0][1] if len(names) == 1 else "all")
def test_a_picture_is_drawn_without(browser, url, names):
    studio = Visit(browser, f"{url}?{REQUEST}",
                   prepare=lambda context: faults.wrap_worker(context, young.DELETE, names))
    missing = f"({json.dumps(names)}).every(([owner, name]) => {{ const object = "\
        "owner.split('.').reduce((found, part) => found?.[part], globalThis); "\
        "return !object || !(name in object); })"
    assert studio.page.evaluate(missing)
    assert all(worker.evaluate(missing) for worker in studio.page.workers)
    draws(studio)
    studio.context.close()


def test_the_oldest_chromium_draws(playwright, url):
    browser = launch(playwright, oldest.FLAGS, oldest.fetch())
    try:
        assert browser.version.split(".")[0] == "113"
        draws(Visit(browser, f"{url}?{REQUEST}"))
    finally:
        browser.close()


def test_pages_say_which_browser_is_needed():
    remedies = (young.WEB / "engine" / "remedies.js").read_text(encoding="utf-8")
    assert f"FIRST_CHROME = {oldest.MAJOR};" in remedies


