"""What the studio and the library say while a file does not come, and when it never does."""

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import flaky
from tests.browser.loader import Loader
from tests.browser.studio import SMALL
from tests.dist import code_of

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
LOAD = """
() => {
  const abort = new AbortController();
  loader.progress = [];
  loader.abort = () => abort.abort();
  loader.running = library.trefoil.loadPipeline(new URL('model/manifest.json', library.site), {
    signal: abort.signal, onProgress: (event) => loader.progress.push(event) })
    .then((pipe) => { loader.pipe = pipe; return { value: pipe.info.storage }; },
      ({ name, message }) => ({ error: { name, message } }));
  loader.ended = () => loader.running;
}
"""
DRAW = """
() => {
  const abort = new AbortController();
  loader.progress = [];
  loader.abort = () => abort.abort();
  loader.running = loader.pipe.generate({ prompt: 'a pine', width: 64, height: 64, steps: 9 }, {
    signal: abort.signal, onProgress: (event) => loader.progress.push(event) })
    .then(({ width }) => ({ value: width }), ({ name, message }) => ({ error: { name, message } }));
}
"""


def shards_of(dist, on_demand):
    manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
    return [shard["file"] for shard in manifest["shards"]
            if bool(shard.get("onDemand")) == on_demand]


def test_the_library_tells_each_wait_and_a_drawing_goes_on_when_the_network_is_back(
    browser, host, dist
):
    one = Loader(browser, host)
    one.limit(firstWait=10, offlineWait=40)
    one.scope.evaluate("(url) => { library.site = url; }", host.url)
    for name in ("manifest.json", "rms_norm.wgsl"):
        host.spoil(name, flaky.refuse(503))
    one.scope.evaluate(LOAD)
    assert one.ended() == "opfs"
    waits = [event for event in one.progress() if "retryInMs" in event]
    assert [event["phase"] for event in waits] == ["check"] * 2
    for name in shards_of(dist, on_demand=True):
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


def test_the_studio_waits_for_the_network_and_cancels_at_once(visit, host, dist):
    name = shards_of(dist, on_demand=False)[0]
    host.keep(name, flaky.hold(1000))
    studio = visit(f"{host.url}?{SMALL}")
    host.until_asked(name)
    host.stop()
    text = studio.page.locator("#model-text")
    expect(text).to_contain_text("waiting for the network")
    expect(studio.control("status", "")).to_contain_text("waiting for the network")
    studio.button("Pause").click()
    expect(text).to_contain_text("Paused · ")
    host.heal()
    host.start()
    studio.button("Resume").click()
    studio.loaded()


@pytest.mark.parametrize("name", ["manifest.json", "rms_norm.wgsl", "tokenizer"])
def test_the_studio_pauses_at_once_whatever_does_not_come(visit, host, dist, name):
    if name == "tokenizer":
        [name] = (path.name for path in (dist / "model").glob("tokenizer*.json"))
    host.keep(name, flaky.SILENT)
    studio = visit(f"{host.url}?{SMALL}")
    host.until_asked(name)
    studio.button("Pause").click()
    expect(studio.page.locator("#model-text")).to_have_text("Paused")
    host.heal()
    studio.button("Resume").click()
    studio.loaded()


def test_the_studio_says_that_the_server_asks_to_wait(visit, host, dist):
    name = shards_of(dist, on_demand=False)[0]
    host.keep(name, flaky.refuse(429, Retry_After="60"))
    studio = visit(f"{host.url}?{SMALL}")
    text = studio.page.locator("#model-text")
    expect(text).to_contain_text("the server asks to wait, trying again in 60 s")
    studio.button("Pause").click()
    expect(text).to_contain_text("Paused")
    host.keep(name, flaky.refuse(429, Retry_After="3600"))
    studio.button("Resume").click()
    assert re.search(r"asks to wait until \d\d:\d\d", studio.alert())


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda path: path.write_text("<!doctype html><title>x</title>"), "a web page in place of"),
    (lambda path: path.unlink(), "answered 404: the file is not there"),
], ids=["a page", "gone"])
@pytest.mark.parametrize("module", ["studio/worker.js", "models/samplers/noise.js"])
def test_an_engine_whose_module_does_not_come_says_which(
    visit, dist, server, tmp_path, module, spoil, words
):
    copy = tmp_path / "dist"
    shutil.copytree(dist, copy)
    spoil(code_of(copy) / module)
    told = visit(server(copy)).alert()
    assert module in told and words in told and "stopped unexpectedly" not in told
