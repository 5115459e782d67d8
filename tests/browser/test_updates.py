"""A site that is replaced while its pages are open: each page is of one version, none is blank."""

import random
import re
import shutil
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect

from export.site.serve import Handler
from tests.browser.offline import (
    caches_of,
    complaints,
    kept,
    leave,
    open_page,
    renewed,
    until,
)
from tests.browser.studio import tell_page
from tests.dist import change, code_name, code_of, code_url
from tests.hosting import Host
from tests.updates import KeepingHandler, Site, Tab, keep_shell, update

TWO_VERSIONS = """caches.keys().then((names) =>
  names.filter((name) => name.startsWith('trefoil http')).length === 2 || null)"""
MODELS = Path(__file__).resolve().parents[2] / "models"
GARDEN, BINARY = MODELS / "garden-ternary", MODELS / "garden-binary"
EARLIER = Path(__file__).parent / "earlier" / "sw.js"
TAKEN_OVER = """navigator.serviceWorker.getRegistration().then(({ installing, waiting, active }) =>
  !installing && !waiting && active.state === 'activated' || null)"""


def started(page):
    """Waits until the page's script has run; without an adapter it says so."""
    expect(page.get_by_role("alert")).to_be_visible()
    return page.locator("h1").inner_text()


def newest(page, url, title):
    """Opens the site until the page is of this version: a host that takes its time is not waited
    for, localhost apart."""
    for _ in range(20):
        page.goto(url)
        if started(page).startswith(title):
            return
    raise AssertionError(f"{title} never comes")


def rename(host, title, prepare=lambda folder: None):
    """The site's next version, all at once: other pages and another script; prepare(folder) does
    what is to be done before."""
    newer = host.folder.with_name(title)
    shutil.copytree(host.folder, newer)
    prepare(newer)
    change(newer, "index.html", "<h1>", f"<h1>{title} ")
    change(newer, "studio/wake.js", "/** ", f"/** {title}: ")
    host.folder = newer


@pytest.mark.parametrize("name", ["127.0.0.1", "studio.localhost"])
def test_a_reload_shows_the_newest_version_and_an_open_page_keeps_its_own(own_host, plain, name):
    url = own_host.url.replace("127.0.0.1", name)
    page = open_page(plain)
    page.goto(url)
    assert kept(page, own_host.url) is True
    page.reload()  # from here on the worker answers for this page
    started(page)
    own = page.evaluate("document.scripts[0].dataset.code")
    other = page.context.new_page()
    for title in ("New", "Newer"):
        rename(own_host, title)
        newest(other, url, title)
        code = code_of(own_host.folder).name
        assert code != own and other.evaluate("document.scripts[0].dataset.code") == code
        assert renewed(other) == "installed"
        if title == "New":  # the last version's files are kept for the page that runs on it
            text = page.evaluate("async (name) => (await fetch(name)).text()",
                                 f"{own}/studio/wake.js")
            assert text.startswith("/** ") and "New:" not in text
    assert len(caches_of(page)) == 3
    own_host.stop()
    other.reload()
    assert started(other).startswith("Newer New")
    own_host.start()
    session = other.context.new_cdp_session(other)
    assert session.send("Page.getAppManifest")["errors"] == []
    hindrances = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in hindrances] == ["in-incognito"]  # the tests' own profile
    assert complaints(page) == []
    leave(page.context)
    last = page.context.new_page()
    newest(last, url, "Newer")
    assert until(last, TWO_VERSIONS) is True


def test_a_few_updates_in_the_middle_of_loading_leave_no_page_blank_stuck_or_mixed(
    site, plain, tmp_path
):
    """The small sibling of python -m tests.updates."""
    generator, found, told = random.Random(0), Counter(), []
    (tmp_path / "site").mkdir()
    versions = Site(site(GARDEN, shard_mib=1), tmp_path / "site" / "dist")
    with ExitStack() as stack:
        context = plain.new_context()
        url = stack.enter_context(Host(versions.dist)).url
        tabs = [Tab(context, url, found, told.append) for _ in range(3)]
        for tab in tabs:
            tab.open()
            tab.settle(versions.mark)
        keep_shell(tabs[0].page, url)
        for _ in range(4):
            update(versions, tabs, generator)
        tabs[0].reload()
        assert tabs[0].settle(versions.mark) == str(versions.mark)
    assert told == [] and not found.keys() - {"newest", "earlier"}


def test_a_worker_that_waited_for_pages_to_close_is_superseded(own_host, plain):
    """The one of versions before 2026-11-26, which put blank pages in the place of the last one."""
    modern = (own_host.folder / "sw.js").read_text(encoding="utf-8")
    files = {"index.html": ""} | {
        path.relative_to(own_host.folder).as_posix(): ""
        for path in code_of(own_host.folder).rglob("*") if path.suffix in (".js", ".css", ".svg")}
    shell = str({"version": "0123456789abcdef", "files": files})
    (own_host.folder / "shell.js").write_text(f"self.SHELL = {shell};\n")
    shutil.copy(EARLIER, own_host.folder / "sw.js")
    url = own_host.url.replace("127.0.0.1", "studio.localhost")
    page = open_page(plain)
    page.goto(url)
    assert kept(page, own_host.url) is True
    page.reload()
    first = started(page)

    def modernise(folder):
        (folder / "shell.js").unlink()
        (folder / "sw.js").write_text(modern, encoding="utf-8")

    rename(own_host, "New", modernise)
    other = page.context.new_page()
    other.goto(url)
    assert started(other) == first  # the earlier worker's own
    renewed(page)
    until(page, TAKEN_OVER)
    for tab in (page, other):
        tab.reload()
        assert started(tab) == f"New {first}"
    assert len(caches_of(page)) == 2
    assert complaints(page) == []


def test_a_page_that_was_kept_on_the_way_and_whose_code_is_gone_is_taken_anew(
    site, plain, tmp_path
):
    shutil.copytree(site(GARDEN, shard_mib=1), tmp_path / "dist")
    page = open_page(plain)
    with Host(tmp_path / "dist", KeepingHandler) as host:
        page.goto(host.url + "model/manifest.json")  # of the same origin
        page.evaluate("fetch('../').then((answer) => answer.text())")  # the browser keeps it
        rename(host, "New")
        page.goto(host.url)
        assert started(page).startswith("New ")
        assert page.evaluate("document.scripts[0].dataset.code") == code_of(host.folder).name


def test_a_page_whose_code_the_host_has_lost_says_what_to_do(own_host, plain):
    code_of(own_host.folder).rename(own_host.folder / "elsewhere")
    page = open_page(plain)
    page.goto(own_host.url)
    expect(page.locator("h1")).to_be_visible()
    expect(page.get_by_text("The studio did not start. Reload the page")).to_be_visible()
    loads = page.evaluate("performance.getEntriesByType('navigation').length")
    assert loads == 1
    (own_host.folder / "elsewhere").rename(own_host.folder / code_name(own_host.url))
    page.reload()
    started(page)


def test_a_page_for_which_the_site_has_another_model_by_now_asks_to_be_reloaded(
    own_host, site, browser
):
    tell_page(own_host.folder, bytes=2_700_000_000)
    page = open_page(browser)
    page.goto(own_host.url)
    load = page.get_by_role("button", name="Load model (2.7 GB)")
    expect(load).to_be_visible()
    before = page.locator("body").get_attribute("data-model")
    own_host.folder = site(BINARY, shard_mib=1)
    load.click()
    expect(page.get_by_role("alert")).to_contain_text("The site was updated: reload the page.")
    page.get_by_role("button", name="Reload", exact=True).click()
    expect(page.locator("#model-text")).to_have_text(re.compile(" of |Ready"))  # it is the page's
    assert page.locator("body").get_attribute("data-model") != before
    expect(page.get_by_role("alert")).to_be_hidden()
    page.context.close()


ASK = """async (code) => {
  const { throwIfUpdated } = await import(new URL('loader/updated.js', code));
  return throwIfUpdated().then(() => null, ({ name, message }) => `${name}: ${message}`);
}"""


def test_whether_the_site_was_updated_is_asked_of_the_site(own_host, plain):
    page = open_page(plain)
    page.goto(own_host.url)
    code = code_url(own_host.url)
    assert page.evaluate(ASK, code) is None
    own_host.stop()
    assert page.evaluate(ASK, code) is None  # nobody knows
    own_host.start()
    rename(own_host, "New")
    told = page.evaluate(ASK, code)
    assert told == "UpdatedError: The site was updated: reload the page."


class Slow(Handler):
    """Accepts every connection, and says nothing once `silent` is set."""

    silent = None

    def answer(self, with_body):
        if Slow.silent:
            Slow.silent.wait()
        return super().answer(with_body)


def test_a_host_that_accepts_and_says_nothing_is_not_waited_for(site, plain, tmp_path):
    shutil.copytree(site(GARDEN, shard_mib=1), tmp_path / "dist")
    worker = tmp_path / "dist" / "sw.js"
    patient = worker.read_text(encoding="utf-8")
    assert "PATIENCE_MS = 5000" in patient
    worker.write_text(patient.replace("PATIENCE_MS = 5000", "PATIENCE_MS = 50"), encoding="utf-8")
    page = open_page(plain)
    with Host(tmp_path / "dist", Slow) as host:
        url = host.url.replace("127.0.0.1", "studio.localhost")
        page.goto(url)
        assert kept(page, host.url) is True
        Slow.silent = threading.Event()
        try:
            page.goto(url)
            started(page)
        finally:
            Slow.silent.set()
            Slow.silent = None
    assert until(page, "document.body.dataset.phase") == "unsupported"
