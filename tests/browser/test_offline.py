"""The service worker: the site without its server, after one load, and wherever it lies."""

import json
import shutil
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from export.site.serve import Handler
from tests.browser.offline import ACTIVE, caches_of, complaints, kept, open_page, until
from tests.browser.studio import GARDEN
from tests.dist import code_of
from tests.hosting import Host

SMALL = "?prompt=a+red+maple&seed=1&width=64&height=64&steps=1"


def draw(page):
    page.get_by_role("button", name="Generate", exact=True).click()
    picture = page.get_by_role("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("(img) => img.naturalWidth") == 64


def listed(folder):
    """What the worker of a site keeps."""
    text = (folder / "sw.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("self.SHELL = ").partition(";\n\n")[0])["files"]


def test_after_one_load_the_studio_draws_without_its_server(own_host, browser):
    page = open_page(browser)
    page.goto(own_host.url + SMALL)
    expect(page.get_by_text("Ready ·")).to_be_visible()
    draw(page)  # fetches what this size and number of steps need besides
    assert until(page, ACTIVE) is True
    [cache] = caches_of(page)
    urls = page.evaluate("async (name) => (await (await caches.open(name)).keys()).map("
                         "({ url }) => url)", cache)
    assert sorted(urls) == sorted(own_host.url + name for name in listed(own_host.folder))
    own_host.stop()
    page.reload()
    expect(page.get_by_text("Ready ·")).to_be_visible()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a red maple")
    draw(page)
    page.goto(own_host.url + "bench.html")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    own_host.start()
    assert page.logged == []
    page.context.close()


def test_where_it_cannot_be_kept_it_is_not_and_nothing_breaks(own_host, plain, server, tmp_path):
    """In a frame of another site without storage; with files that are not the list's, as when a
    site is just being replaced."""
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "index.html").write_text(
        f'<!doctype html><link rel="icon" href="data:,"><iframe src="{own_host.url}"></iframe>')
    page = open_page(plain)
    page.goto(server(tmp_path / "outer").replace("127.0.0.1", "localhost"))
    frame = page.frame(url=own_host.url)
    expect(frame.get_by_role("alert")).to_be_visible()
    assert kept(frame, own_host.url) is False
    with (code_of(own_host.folder) / "studio" / "strings" / "model.js").open("ab") as file:
        file.write(b"\n")
    page = open_page(page.context.browser)
    page.goto(own_host.url)
    assert kept(page, own_host.url) is False and caches_of(page) == []
    page.reload()
    expect(page.get_by_role("alert")).to_be_visible()
    assert complaints(page) == []


def test_a_page_of_another_version_is_not_kept_with_this_ones_code(own_host, plain):
    index = own_host.folder / "index.html"
    own = index.read_text(encoding="utf-8")
    page = open_page(plain)
    page.goto(own_host.url)
    index.write_text(own.replace(code_of(own_host.folder).name, "code-0123456789abcdef"))
    assert kept(page, own_host.url) is False
    index.write_text(own.replace("</head>", "<script>/* a host's own words */</script></head>"))
    assert kept(page, own_host.url) is True


class Redirecting(Handler):
    """As hosts that leave .html out of their addresses."""

    def answer(self, with_body):
        if self.path.partition("?")[0].endswith(".html"):
            self.send_response(308)
            self.send_header("Location", self.path.replace("index.html", "").replace(".html", ""))
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.path.partition("?")[0].endswith("/bench"):
            self.path = self.path.replace("bench", "bench.html")
        return super().answer(with_body)


class Old(Handler):
    """As python -m http.server."""

    protocol_version = "HTTP/1.0"


PLACES = {
    "space and percent": (Handler, "a b%c/", ("", "index.html", "?seed=7", "bench.html?x=1")),
    "percent alone": (Handler, "100%/ü/", ("", "index.html?a=%25", "bench.html")),
    "redirects": (Redirecting, "site/", ("", "index.html", "bench", "bench.html?x=1")),
    "HTTP/1.0": (Old, "", ("?prompt=x", "index.html", "bench.html")),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_opens_without_its_server_wherever_it_lies(site, plain, tmp_path, place):
    handler, path, pages = PLACES[place]
    shutil.copytree(site(GARDEN, shard_mib=1), tmp_path / "root" / path)
    page = open_page(plain)
    with Host(tmp_path / "root", handler) as host:
        url = host.url + quote(path)
        page.goto(url)
        assert kept(page, url) is True
        host.stop()
        for name in pages:
            page.goto(url + name)
            expect(page.get_by_role("alert" if "bench" not in name else "heading").first
                   ).to_be_visible()
            assert page.evaluate("document.body.dataset.phase")
        assert complaints(page) == []


def test_two_sites_of_one_origin_one_in_the_other_keep_apart(site, plain, tmp_path):
    outer = tmp_path / "outer"
    shutil.copytree(site(GARDEN, shard_mib=1), outer)
    shutil.copytree(site(GARDEN, shard_mib=2), outer / "inner")
    page = open_page(plain)
    with Host(outer) as host:
        for url in (host.url, f"{host.url}inner/"):
            page.goto(url)
            assert kept(page, url) is True
        assert len(caches_of(page)) == 2
        for url in (host.url, f"{host.url}inner/"):
            page.goto(url)
            mark = page.evaluate("document.body.dataset.model")
            host.stop()
            page.reload()
            expect(page.get_by_role("alert")).to_be_visible()
            assert page.evaluate("document.body.dataset.model") == mark
            host.start()
        assert complaints(page) == []
