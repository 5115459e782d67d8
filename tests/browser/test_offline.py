"""The service worker: the site without its server, after one load, and after a new version."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from playwright.sync_api import expect

from export import shell
from export.serve import make_server

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
SMALL = "?prompt=a+red+maple&seed=1&width=64&height=64&steps=1"
DRAWN_MS = 60_000
KEPT = "import('./studio/offline.js').then(({ keepShell }) => keepShell())"


class Host:
    """A server of `folder` that can go and come back under the same address."""

    def __init__(self, folder):
        self.folder, self.port = folder, 0
        self.start()

    def start(self):
        self.server = make_server(self.folder, self.port)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.port}/"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def host(site, tmp_path):
    copy = tmp_path / "dist"
    shutil.copytree(site(GARDEN, shard_mib=1), copy)
    started = Host(copy)
    yield started
    started.stop()


@pytest.fixture
def page(browser):
    """A page of a fresh profile; `logged` has its errors and warnings."""
    with browser.new_context() as context:
        opened = context.new_page()
        opened.set_default_timeout(DRAWN_MS)
        opened.logged = []
        opened.on("console", lambda message: message.type in ("error", "warning")
                  and opened.logged.append(message.text))
        opened.on("pageerror", lambda error: opened.logged.append(str(error)))
        yield opened


def draw(page):
    page.get_by_role("button", name="Generate", exact=True).click()
    picture = page.get_by_role("img")
    expect(picture).to_be_visible(timeout=DRAWN_MS)
    assert picture.evaluate("(img) => img.naturalWidth") == 64


def caches_of(page):
    return page.evaluate("caches.keys()")


def change(folder, name, old, new):
    """A new version of the site, as a build with a changed file writes it."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    shell.write_shell(folder)


def test_after_one_load_the_studio_draws_without_its_server(host, page):
    page.goto(host.url + SMALL)
    expect(page.get_by_text("Ready ·")).to_be_visible(timeout=DRAWN_MS)
    assert page.evaluate(KEPT) is True
    [cache] = caches_of(page)
    kept = page.evaluate("async (name) => (await (await caches.open(name)).keys()).map("
                         "({ url }) => url)", cache)  # fmt: skip
    listed = json.loads((host.folder / "shell.js").read_text()[len("self.SHELL = "):-2])["files"]
    assert sorted(kept) == sorted(host.url + name for name in listed)
    host.stop()
    page.reload()
    expect(page.get_by_text("Ready ·")).to_be_visible(timeout=DRAWN_MS)
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a red maple")
    draw(page)
    page.goto(host.url + "bench.html")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled(timeout=DRAWN_MS)
    host.start()
    assert page.logged == []


def test_a_new_version_is_taken_whole_and_not_under_an_open_page(host, page):
    title = page.locator("h1")
    page.goto(host.url)
    assert page.evaluate(KEPT) is True
    [first] = caches_of(page)
    change(host.folder, "index.html", "<h1>", "<h1>New ")
    change(host.folder, "studio/strings.js", "Your picture starts", "Your new picture starts")
    other = page.context.new_page()
    other.goto(host.url)
    expect(other.locator("h1")).not_to_contain_text("New")
    other.wait_for_function(
        "navigator.serviceWorker.ready.then((ready) => ready.update()"
        ".then(() => ready.waiting?.state === 'installed'))")  # fmt: skip
    other.reload()
    expect(other.locator("h1")).not_to_contain_text("New")
    page.close()
    other.reload()
    expect(other.locator("h1")).to_contain_text("New")
    strings = other.evaluate("fetch('studio/strings.js').then((answer) => answer.text())")
    assert "Your new picture starts" in strings
    other.wait_for_function("(first) => caches.keys().then((names) => names.length === 1"
                            " && names[0] !== first)", arg=first)  # fmt: skip
    assert title is not None


def test_a_half_replaced_site_is_not_kept(host, page):
    """Files that are not the list's: the new ones may come a moment later."""
    (host.folder / "studio" / "strings.js").write_bytes(
        (host.folder / "studio" / "strings.js").read_bytes() + b"\n")
    page.goto(host.url)
    assert page.evaluate(KEPT) is False
    expect(page.get_by_text("Ready ·")).to_be_visible(timeout=DRAWN_MS)
