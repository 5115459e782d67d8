"""What the studio and the library say while a file does not come, and when it never does."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser import flaky
from tests.browser.loader import Loader
from tests.browser.studio import SMALL
from tests.dist import code_of

LOAD = """
() => loader.run(async (signal) => {
  loader.pipe = await library.trefoil.loadPipeline(
    new URL('../model/manifest.json', library.code),
    { signal, onProgress: (event) => loader.progress.push(event) });
  return loader.pipe.info.storage;
})
"""
DRAW = """
() => loader.run(async (signal) => {
  const { width } = await loader.pipe.generate(
    { prompt: 'a pine', width: 64, height: 64, steps: 1 },
    { signal, onProgress: (event) => loader.progress.push(event) });
  return width;
})
"""


def shards_of(dist, on_demand):
    manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
    return [shard["file"] for shard in manifest["shards"]
            if bool(shard.get("onDemand")) == on_demand]


@pytest.fixture
def small_host(made, site):
    """Of a model that is loaded and drawn quickly."""
    with flaky.FlakyServer(site(made("shallow"))) as host:
        yield host


def test_the_library_tells_each_wait_and_a_drawing_goes_on_when_the_network_is_back(
    browser, small_host
):
    host = small_host
    one = Loader(browser, host)
    one.limit(firstWait=10, offlineWait=40)
    for name in ("manifest.json", "rms_norm.wgsl"):
        host.spoil(name, flaky.refuse(503))
    one.scope.evaluate(LOAD)
    assert one.ended() == "opfs"
    waits = [event for event in one.progress() if "retryInMs" in event]
    assert [event["phase"] for event in waits] == ["check"] * 2
    for name in shards_of(host.folder, on_demand=True):
        host.spoil(name, flaky.refuse(503), flaky.SILENT)
    host.forget()
    one.scope.evaluate(DRAW)
    one.until("p.stage === 'download' && p.retryInMs > 0")
    host.stop()
    one.until("loader.progress.filter(({ offline }) => offline).length > 20")
    host.heal()
    host.start()
    assert one.ended() == 64
    assert all(event["stage"] == "download" for event in one.progress() if "offline" in event)
    one.context.close()


def test_the_studio_waits_pauses_at_once_and_goes_on_whatever_does_not_come(
    visit, small_host
):
    """One file after another holds the load up, each where the one before came."""
    host = small_host
    shard = shards_of(host.folder, on_demand=False)[0]
    model = host.folder / "model"
    [tokenizer] = (path.name for path in model.glob("tokenizer*.json"))
    small = ["manifest.json", "rms_norm.wgsl", tokenizer]
    host.keep(small[0], flaky.SILENT)
    studio = visit(f"{host.url}?{SMALL}")
    text = studio.page.locator("#model-text")

    def go_on(name, fault):
        host.heal()
        host.forget()
        host.keep(name, fault)
        studio.button("Resume").click()

    def pause(told):
        studio.button("Pause").click()
        expect(text).to_have_text(told)

    for name in small:
        if name != small[0]:
            go_on(name, flaky.SILENT)
        host.until_asked(name)
        pause("Paused")

    go_on(shard, flaky.hold(1000))
    host.until_asked(shard)
    expect(text).to_have_text(re.compile("^[1-9].* of "))  # all others come
    host.stop()
    expect(text).to_contain_text("waiting for the network")
    expect(studio.control("status", "")).to_contain_text("waiting for the network")
    pause(re.compile("^Paused · "))
    host.start()

    go_on(shard, flaky.refuse(429, Retry_After="60"))
    expect(text).to_contain_text("the server asks to wait, trying again in 60 s")
    pause(re.compile("^Paused"))

    go_on(shard, flaky.refuse(429, Retry_After="3600"))
    assert re.search(r"asks to wait until \d\d:\d\d", studio.alert())

    host.heal()
    studio.page.get_by_role("button", name=re.compile("^Load model")).click()
    studio.loaded()


SPOILT = {  # a module's file: what becomes of it, the words of the alert
    "a page": (b"<!doctype html><title>x</title>", "a web page in place of"),
    "gone": (None, "answered 404: the file is not there"),
}


def test_an_engine_whose_module_does_not_come_says_which(visit, own_host):
    code = code_of(own_host.folder)
    studio = visit("about:blank")
    studio.page.route("**/none", lambda route: None)  # while there is a route, no cache is used
    for module in ("studio/worker.js", "models/samplers/noise.js"):
        whole = (code / module).read_bytes()
        for how, (content, words) in SPOILT.items():
            (code / module).unlink()
            if content:
                (code / module).write_bytes(content)
            studio.page.goto(own_host.url)
            told = studio.alert()
            assert module in told and words in told, f"{module}, {how}: {told}"
            assert "stopped unexpectedly" not in told, f"{module}, {how}: {told}"
            studio.page.goto("about:blank")
            (code / module).write_bytes(whole)
