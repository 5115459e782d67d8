"""The service worker: the site without its server, after one load, and after a new version."""

import contextlib
import json
import shutil
import socket
import threading
from pathlib import Path

import pytest
from playwright.sync_api import expect

from export import shell
from export.serve import make_server

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
SMALL = "?prompt=a+red+maple&seed=1&width=64&height=64&steps=1"
DRAWN_MS = 60_000
ACTIVE = """navigator.serviceWorker.getRegistration().then((registration) =>
  registration?.active?.state === 'activated' || null)"""


class Host:
    """A server of `folder` that can go, open connections and all, and come back as it was."""

    def __init__(self, folder):
        self.folder, self.port = folder, 0
        self.start()

    def start(self):
        self.server = make_server(self.folder, self.port)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"
        self.connections, accept = [], self.server.get_request

        def accept_and_note():
            self.connections.append(accept())
            return self.connections[-1]

        self.server.get_request = accept_and_note
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection, _ in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def host(site, tmp_path):
    copy = tmp_path / "dist"
    shutil.copytree(site(GARDEN, shard_mib=1), copy)
    started = Host(copy)
    yield started
    started.stop()


def open_page(browser):
    """A page of a fresh profile; `logged` has its errors and warnings."""
    page = browser.new_context().new_page()
    page.set_default_timeout(DRAWN_MS)
    page.logged = []
    page.on("console", lambda message: message.type in ("error", "warning")
            and page.logged.append(message.text))
    page.on("pageerror", lambda error: page.logged.append(str(error)))
    return page


def until(page, ask):
    """Asks until the answer is neither null nor undefined; it. The page's policy forbids
    Playwright's own waiting."""
    for _ in range(DRAWN_MS // 100):
        answer = page.evaluate(ask)
        if answer is not None:
            return answer
        page.wait_for_timeout(100)
    raise AssertionError(f"still nothing: {ask}")


def kept(page):
    """What keepShell() resolves to."""
    page.evaluate("import('./studio/offline.js').then(({ keepShell }) => {"
                  "keepShell().then((kept) => { globalThis.kept = kept; }); })")
    return until(page, "globalThis.kept")


def newer(page):
    """Waits until the site's new version is installed."""
    page.evaluate("navigator.serviceWorker.getRegistration().then((registration) => {"
                  "globalThis.registered = registration; registration.update(); })")
    assert until(page, "globalThis.registered?.waiting?.state") == "installed"


def draw(page):
    page.get_by_role("button", name="Generate", exact=True).click()
    picture = page.get_by_role("img")
    expect(picture).to_be_visible(timeout=DRAWN_MS)
    assert picture.evaluate("(img) => img.naturalWidth") == 64


def caches_of(page):
    """Those of the shell; the loader's is the weights'."""
    return [name for name in page.evaluate("caches.keys()") if name != "trefoil-shards"]


def change(folder, name, old, new):
    """A new version of the site, as a build with a changed file writes it."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    shell.write_shell(folder)


def test_after_one_load_the_studio_draws_without_its_server(host, browser):
    page = open_page(browser)
    page.goto(host.url + SMALL)
    expect(page.get_by_text("Ready ·")).to_be_visible(timeout=DRAWN_MS)
    draw(page)  # fetches what this size and number of steps need besides
    assert until(page, ACTIVE) is True
    [cache] = caches_of(page)
    urls = page.evaluate("async (name) => (await (await caches.open(name)).keys()).map("
                         "({ url }) => url)", cache)  # fmt: skip
    listed = json.loads((host.folder / "shell.js").read_text()[len("self.SHELL = "):-2])["files"]
    assert sorted(urls) == sorted(host.url + name for name in listed)
    host.stop()
    page.reload()
    expect(page.get_by_text("Ready ·")).to_be_visible(timeout=DRAWN_MS)
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a red maple")
    draw(page)
    page.goto(host.url + "bench.html")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled(timeout=DRAWN_MS)
    host.start()
    assert page.logged == []
    page.context.close()


def test_a_new_version_is_taken_whole_and_not_under_an_open_page(host, open_browser):
    url = host.url.replace("127.0.0.1", "studio.localhost")  # a host like any other to the worker
    page = open_page(open_browser(flags=[]))  # without WebGPU: no model is loaded
    page.goto(url)
    assert kept(page) is True
    page.reload()  # from here on the worker answers for this page
    [first] = caches_of(page)
    change(host.folder, "index.html", "<h1>", "<h1>New ")
    change(host.folder, "studio/strings/model.js", "Your picture starts", "Your new picture starts")
    other = page.context.new_page()
    other.goto(url)
    newer(other)
    other.reload()
    expect(other.get_by_role("alert")).to_be_visible(timeout=DRAWN_MS)
    expect(other.locator("h1")).not_to_contain_text("New")
    other.close()
    other = page.context.new_page()  # beside one page, which must not be mistaken for this one
    other.goto(url)
    expect(other.get_by_role("alert")).to_be_visible(timeout=DRAWN_MS)
    expect(other.locator("h1")).not_to_contain_text("New")
    assert caches_of(page)[0] == first
    page.close()
    for _ in range(10):  # the browser may count a closed page for a moment
        other.reload()
        if "New" in other.locator("h1").inner_text():
            break
        other.wait_for_timeout(500)
    expect(other.locator("h1")).to_contain_text("New")
    strings = other.evaluate("fetch('studio/strings/model.js').then((answer) => answer.text())")
    assert "Your new picture starts" in strings
    [second] = caches_of(other)
    assert second != first
    assert [line for line in page.logged if "adapter" not in line] == []


def test_where_the_site_is_being_built_a_reload_shows_the_last_build(host, open_browser):
    page = open_page(open_browser(flags=[]))
    page.goto(host.url)
    assert kept(page) is True
    page.reload()
    change(host.folder, "index.html", "<h1>", "<h1>New ")
    page.reload()
    expect(page.locator("h1")).to_contain_text("New")
    session = page.context.new_cdp_session(page)
    assert session.send("Page.getAppManifest")["errors"] == []
    hindrances = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in hindrances] == ["in-incognito"]  # the tests' own profile


def test_where_it_cannot_be_kept_it_is_not_and_nothing_breaks(host, open_browser, server, tmp_path):
    """In a frame of another site without storage; with files that are not the list's, as when a
    site is just being replaced."""
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "index.html").write_text(
        f'<!doctype html><link rel="icon" href="data:,"><iframe src="{host.url}"></iframe>')
    page = open_page(open_browser(flags=[]))
    page.goto(server(tmp_path / "outer").replace("127.0.0.1", "localhost"))
    frame = page.frame(url=host.url)
    expect(frame.get_by_role("alert")).to_be_visible(timeout=DRAWN_MS)
    assert kept(frame) is False
    with (host.folder / "studio" / "strings" / "model.js").open("ab") as file:
        file.write(b"\n")
    page.goto(host.url)
    assert kept(page) is False
    page.reload()
    expect(page.get_by_role("alert")).to_be_visible(timeout=DRAWN_MS)
    assert [line for line in page.logged if "adapter" not in line] == []
