"""Getting the model: told before it is fetched, paused, deleted, and after the tab was killed."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Error, expect

from tests.browser.studio import damaged, tell_page
from tests.dist import code_url
from tests.waiting import wait_until

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
SMALL = "width=64&height=64&steps=1"
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
CHROME = "Chrome/140.0.0.0 Safari/537.36"
REMEDIES = [  # cause, user agent, what the remedy must and must not name
    ("insecure", LINUX + CHROME, "http://localhost", "chrome://"),
    ("webgpu", "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
     "dom.webgpu.enabled", "chrome://"),
    ("adapter", "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
     "about:support", "dom.webgpu.enabled"),
    ("webgpu", WINDOWS.replace(")", "; rv:128.0)") + "Gecko/20100101 Firefox/128.0", "141", "140"),
    ("webgpu", "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
     "open the page in Chrome", "about:config"),
    ("webgpu", LINUX + "Chrome/109.0.0.0 Safari/537.36", "Chromium 109", "flags"),
    ("webgpu", LINUX + CHROME, "--enable-unsafe-webgpu", "113"),
    ("adapter", LINUX + CHROME, "--enable-features=Vulkan", "edge://"),
    ("adapter", WINDOWS + CHROME, "hardware (graphics) acceleration", "Vulkan"),
    ("adapter", WINDOWS + CHROME + " Edg/140.0.0.0", "edge://gpu", "chrome://"),
    ("webgpu", ANDROID + "Chrome/120.0.0.0 Mobile Safari/537.36", "121", "Android 12"),
    ("webgpu", ANDROID + "Chrome/140.0.0.0 Mobile Safari/537.36", "Android 12", "Vulkan"),
    ("webgpu", ANDROID.replace(")", "; wv)", 1) + CHROME, "Open in browser", "chrome://"),
    ("webgpu", IPHONE + "Mobile/15E148 Instagram 300.0.0.0", "Open in browser", "iOS"),
    ("webgpu", IPHONE + "CriOS/140.0.0.0 Mobile/15E148 Safari/604.1", "iPadOS 26", "chrome://"),
    ("webgpu", IPHONE + "Version/18.5 Mobile/15E148 Safari/604.1", "iPadOS 26", "macOS"),
    ("webgpu", MAC + "Version/18.5 Safari/605.1.15", "Safari 26", "Lockdown"),
    ("adapter", MAC + "Version/26.0 Safari/605.1.15", "Lockdown", "chrome://"),
    ("webgpu", "Lynx/2.9", "current Chrome, Edge, Safari or Firefox", "gpu"),
]
NO_TAB = """navigator.locks.query().then(({ held }) =>
  !held.some(({ name }) => name.startsWith('trefoil-tab-')))"""


@pytest.fixture
def large(dist, server, tmp_path):
    """The address of a site whose page waits for a press before it loads."""
    copy = damaged(dist, tmp_path, lambda folder: tell_page(folder, bytes=2_700_000_000))
    return server(copy)


def hold_shards(page, after):
    """Lets the first shards through and holds the others; a call lets them go on."""
    held, passed = [], []

    def on_shard(route):
        passed.append(route)
        if len(passed) > after:
            held.append(route)
        else:
            route.continue_()

    page.route("**/*.bin", on_shard)

    def release():
        page.unroute("**/*.bin")
        for route in held:
            try:
                route.continue_()
            except Error:  # the page has given it up
                pass

    return release


def test_each_browser_and_cause_has_its_remedy(visit, url):
    page = visit(url + "model/manifest.json").page
    page.evaluate("async (url) => { globalThis.remedies = await import(url) }",
                  code_url(url) + "engine/remedies.js")
    for cause, agent, named, not_named in REMEDIES:
        told = page.evaluate("([cause, agent]) => remedies.remedyFor(cause, agent)", [cause, agent])
        assert named in told and not_named not in told, f"{cause}, {agent}: {told}"
        assert told.endswith(".")


def test_a_large_model_is_described_paused_resumed_and_deleted(visit, large):
    studio = visit(f"{large}?{SMALL}")
    page = studio.page
    rows = page.locator("#device-rows")
    for told in ("Graphics", "in software", "Largest buffer", "2.7 GB, once", "GPU memory",
                 "the browser may clear it"):
        expect(rows).to_contain_text(told)
    expect(rows).to_be_visible()
    expect(rows).not_to_contain_text("10 GB")  # the quota, which is no free space
    studio.control("combobox", "Size").select_option("128x128")
    expect(rows).to_contain_text(re.compile(r"about \d+ MB for 128 × 128"))
    assert not any("/model/" in made for made in studio.requested)

    release = hold_shards(page, after=2)
    studio.button("Load model (2.7 GB)").click()
    expect(studio.control("status", "")).to_have_text(
        re.compile("Downloading the model, [25]"))
    studio.button("Pause").click()
    paused = re.compile(r"Paused · [\d.]+ [kM]B of 4\.7 MB")
    expect(page.locator("#model-text")).to_have_text(paused)
    expect(studio.button("Generate")).to_be_enabled()
    release()
    requested = len(studio.requested)
    studio.button("Resume").click()
    studio.loaded()
    assert any(made.endswith(".bin") for made in studio.requested[requested:])
    again = [made for made in studio.requested if made.endswith(".bin")]
    expect(studio.button("Pause")).to_be_hidden()
    expect(rows).to_contain_text("4.7 MB on this device")

    page.get_by_role("button", name="Delete model").click()
    studio.button("Keep it").click()
    page.get_by_role("button", name="Delete model").click()
    expect(page.get_by_role("dialog")).to_contain_text("4.7 MB")
    studio.button("Delete").click()
    studio.button("Load model (4.7 MB)").click()

    def refetched():
        fetched = [made for made in studio.requested if made.endswith(".bin")][len(again):]
        return set(fetched) == set(again)

    wait_until(refetched, "all is fetched again", lambda: page.wait_for_timeout(20))
    assert studio.logged == []


def test_refused_storage_is_told_and_the_picture_drawn_all_the_same(visit, url):
    refuse = """
      const refuse = () => { throw new DOMException('refused', 'SecurityError'); };
      for (const name of ['getDirectory', 'persist', 'persisted', 'estimate']) {
        StorageManager.prototype[name] = async () => refuse();
      }
      Object.defineProperty(window, 'localStorage', { get: refuse });
    """
    studio = visit(f"{url}?{SMALL}&run", script=refuse)
    studio.picture()
    studio.page.get_by_text("This device and the model").click()
    expect(studio.page.locator("#device-rows")).to_contain_text("refused here")
    expect(studio.page.get_by_role("button", name="Keep on this device")).to_be_hidden()
    studio.control("combobox", "Theme").select_option("dark")
    assert studio.logged == []


def test_a_killed_tab_is_noticed_and_answered_with_less_memory(visit, url):
    studio = visit("about:blank")
    page = studio.page
    hold_shards(page, after=1)
    page.goto(f"{url}?{SMALL}&run")
    expect(page.locator("#model-text")).to_have_text(re.compile(" of 4.7 MB"))
    other = studio.context.new_page()
    other.goto(url)  # while the first is at work, nothing is wrong
    expect(other.get_by_text("Waiting for another tab")).to_be_visible()
    expect(other.locator("#unfinished")).to_be_hidden()
    other.close()
    with pytest.raises(Error):
        page.goto("chrome://crash")

    again = studio.context.new_page()
    again.goto(f"{url}model/manifest.json")  # of the same origin
    wait_until(lambda: again.evaluate(NO_TAB), "the browser knows that the tab is gone")
    again.goto(f"{url}?{SMALL}&run")
    notice = again.locator("#unfinished")
    told = "closed this page last time while the model was being loaded"
    expect(notice).to_contain_text(told)
    expect(again.get_by_role("status")).to_have_text(notice.locator("p").inner_text())
    expect(again.get_by_text("Ready ·")).to_be_hidden()
    again.get_by_role("button", name="Load with less memory").click()
    expect(again.get_by_role("img")).to_be_visible()
    expect(notice).to_be_hidden()
    expect(again.get_by_label("Memory")).to_have_value("small")
    again.goto("about:blank")
    again.goto(url)  # which loads unasked only if nothing was left unfinished
    expect(again.locator("body")).to_have_attribute("data-phase", re.compile("loading|ready"))
    expect(again.locator("#unfinished")).to_be_hidden()
