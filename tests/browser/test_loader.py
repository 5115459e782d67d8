"""The download of the model: streamed, resumed, tried again, verified, in whatever storage."""

from email.utils import formatdate

import pytest

from tests.browser import flaky
from tests.browser.library import Library, LibraryError
from tests.browser.loader import SETUP, Loader, once, total
from tests.browser.studio import GARDEN
from tests.conftest import launch_profile
from tests.dist import code_url

REALMS = {  # where it runs, and what it is told of storage
    "worker-opfs": (True, "opfs"), "window-opfs": (False, "opfs"),
    "cache": (True, "cache"), "memory": (True, "memory"),
}


@pytest.fixture(scope="module")
def dist(site):
    return site(GARDEN, shard_mib=0.25)


# ---- kept ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("realm", REALMS)
def test_an_abort_keeps_what_has_come_and_the_next_load_goes_on(loader, host, dist, shards, realm):
    worker, storage = REALMS[realm]
    one = loader(worker=worker)
    largest, half = shards[0], shards[0]["bytes"] // 2
    host.spoil(largest["file"], flaky.hold(half))
    one.begin(storage)
    others = total(shards) - largest["bytes"]
    one.until(f"p.loadedBytes === {others + half}")
    one.abort()
    kept = {"bytes": others + half, "files": len(shards), "kind": storage}
    assert one.stored("model/manifest.json") == (
        {"bytes": 0, "files": 0, "kind": None} if storage == "memory" else kept)
    assert one.download(storage) == storage
    assert host.asked[largest["file"]] == [None, f"bytes={half}-"]
    assert host.shards() == once(shards)
    first, *_, last = one.progress()
    assert first == {"phase": "download", "loadedBytes": others + half,
                     "totalBytes": total(shards), "cachedBytes": others + half}
    assert last["loadedBytes"] == total(shards)
    assert all(one.holds(dist, shard) for shard in shards[:3])
    host.forget()
    one.download(storage)
    assert bool(host.shards()) == (storage == "memory")
    assert not one.complaints


def test_a_reload_and_a_closed_browser_keep_what_has_come(playwright, host, dist, shards, tmp_path):
    half = shards[0]["bytes"] // 2
    host.spoil(shards[0]["file"], flaky.hold(half), flaky.hold(half // 2))
    context = launch_profile(playwright, tmp_path / "profile")
    with Loader(context.browser, host, context) as one:
        one.begin()
        one.until(f"p.loadedBytes === {total(shards) - shards[0]['bytes'] + half}")
        one.page.reload()
        again = Loader(context.browser, host, context)
        again.begin()
        again.until(f"p.loadedBytes === {total(shards) - half + half // 2}")
    context = launch_profile(playwright, tmp_path / "profile")
    with Loader(context.browser, host, context) as one:
        assert one.download() == "opfs"
        assert one.progress()[0]["cachedBytes"] == total(shards) - half + half // 2
        assert one.holds(dist, shards[0])
    assert host.asked[shards[0]["file"]][1:] == [f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert host.shards() == once(shards)


@pytest.mark.parametrize("fault", [flaky.WHOLE, flaky.FROM_ZERO], ids=["200", "206 from 0"])
def test_a_server_that_ignores_the_range(loader, host, dist, shards, fault):
    one, file, half = loader(), shards[0]["file"], shards[0]["bytes"] // 2
    host.spoil(file, flaky.cut(half), fault)
    assert one.download() == "opfs"
    assert host.asked[file] == [None, f"bytes={half}-"]
    assert one.holds(dist, shards[0])
    assert one.scope.evaluate("() => loader.last()")["loadedBytes"] == total(shards)


def test_a_part_that_went_bad_on_the_disk_is_fetched_again(loader, host, dist, shards):
    one, file, half = loader(), shards[0]["file"], shards[0]["bytes"] // 2
    host.spoil(file, flaky.hold(half))
    one.begin()
    one.until(f"p.loadedBytes === {total(shards) - shards[0]['bytes'] + half}")
    one.abort()
    one.scope.evaluate("""async (file) => {
      const root = await navigator.storage.getDirectory();
      const handle = await (await root.getDirectoryHandle('trefoil')).getFileHandle(file);
      const access = await handle.createSyncAccessHandle();
      access.write(new Uint8Array(100), { at: 1000 });
      access.close();
    }""", f"{file}.part")
    assert one.download() == "opfs"
    assert host.asked[file] == [None, f"bytes={half}-", None]
    assert one.holds(dist, shards[0])


# ---- tried again --------------------------------------------------------------------------------

def test_busy_servers_and_broken_connections_are_tried_again(loader, host, dist, shards):
    one = loader()
    one.limit(firstWait=100)
    busy, late, broken = (shard["file"] for shard in shards[:3])
    now = one.scope.evaluate("() => { const now = Date.now(); Date.now = () => now; return now; }")
    soon = formatdate(now / 1000 + 2, usegmt=True)  # in whole seconds
    host.spoil(busy, flaky.refuse(429, Retry_After="1"), flaky.refuse(503, Retry_After="0"))
    # Not 408, which Chromium may try again itself, on a connection that it had used before.
    host.spoil(late, flaky.refuse(503, Retry_After=soon))
    host.spoil(broken, flaky.cut(1000), flaky.cut(2000))
    assert one.download() == "opfs"
    waits = dict.fromkeys((event["file"], event["retryInMs"]) for event in one.progress()
                          if "retryInMs" in event)  # told again with others' pieces
    assert [ms for file, ms in waits if file == busy] == [1000, 0]
    assert [1000 < ms <= 2000 for file, ms in waits if file == late] == [True]
    assert [50 <= ms <= 100 for file, ms in waits if file == broken] == [True, True]
    assert host.asked[broken] == [None, "bytes=1000-", "bytes=3000-"]
    assert host.shards() == once(shards)
    assert all(one.holds(dist, shard) for shard in shards[:3])


def test_a_server_that_stays_broken_is_told_and_a_missing_file_sooner(loader, host, shards):
    one, file = loader(), shards[0]["file"]
    one.limit(firstWait=4)
    host.keep(file, flaky.refuse(503, Retry_After="0"))
    with pytest.raises(LibraryError) as caught:
        one.download()
    assert caught.value.name == "DownloadError"
    for word in (file, "503", "5 times"):
        assert word in caught.value.message
    assert len(host.asked[file]) == 5
    host.forget()
    host.keep(file, flaky.refuse(404))
    with pytest.raises(LibraryError, match="404"):
        one.download()
    assert len(host.asked[file]) == 3
    host.keep(file, flaky.refuse(429, Retry_After="120"))
    one.begin()
    one.until("p.retryInMs === 120000 && p.asked")
    one.abort()
    host.heal()
    assert one.download() == "opfs"


def test_wrong_bytes_are_fetched_once_more_and_then_named(loader, host, dist, shards):
    one, file = loader(), shards[0]["file"]
    host.spoil(file, flaky.WRONG)
    assert one.download() == "opfs"
    assert len(host.asked[file]) == 2
    assert one.holds(dist, shards[0])
    one.delete()
    host.forget()
    host.keep(file, flaky.WRONG)
    with pytest.raises(LibraryError) as caught:
        one.download()
    assert caught.value.name == "DownloadError"
    assert file in caught.value.message and shards[0]["sha256"] in caught.value.message
    assert len(host.asked[file]) == 2
    host.heal()
    assert one.download() == "opfs"
    assert one.holds(dist, shards[0])


# ---- tabs ---------------------------------------------------------------------------------------

def test_one_tab_downloads_and_the_other_waits(loader, host, dist, shards):
    one = loader()
    two = loader(context=one.context)
    largest, half = shards[0], shards[0]["bytes"] // 2
    host.spoil(largest["file"], flaky.hold(half))
    one.begin()
    one.until(f"p.loadedBytes === {total(shards) - largest['bytes'] + half}")
    two.begin()
    two.until("p.phase === 'wait'")
    for tab in (one, two):
        with pytest.raises(LibraryError, match="being downloaded") as caught:
            tab.delete()
        assert caught.value.name == "InputError"
    two.abort()
    two.begin()
    two.until("p.phase === 'wait'")
    assert host.asked[largest["file"]] == [None]
    one.abort()
    assert two.ended() == "opfs"
    assert one.download() == "opfs"
    assert host.shards() == once(shards)
    assert {"wait"} == {event["phase"] for event in two.progress()[:1]}
    assert one.holds(dist, largest) and two.holds(dist, largest)


# ---- storage ------------------------------------------------------------------------------------

@pytest.mark.parametrize(("refused", "kind"), [
    (["opfs"], "cache"), (["opfs", "cache", "locks"], "memory"), (["locks"], "opfs"),
], ids=["opfs", "all", "locks"])
def test_storage_is_refused(loader, host, dist, shards, refused, kind):
    one = loader(refused=refused)
    assert one.download() == kind
    assert all(one.holds(dist, shard) for shard in shards[:2])
    assert host.shards() == once(shards)
    if "opfs" in refused:
        with pytest.raises(LibraryError, match="may not keep files") as caught:
            one.download("opfs")
        assert caught.value.name == "DownloadError"


@pytest.mark.parametrize("fault", [{}, flaky.LATE_END], ids=["at once", "late end"])
def test_what_no_storage_takes_the_browsers_cache_keeps(loader, host, shards, fault):
    one = loader()
    again = loader(context=one.context)
    for page in (one.page, again.page):
        page.unroute_all()
    host.keep(shards[0]["file"], fault)
    one.download("memory")
    host.forget()
    again.download("memory")
    assert host.shards() == {}
    assert not one.complaints and not again.complaints


def test_a_full_disk_midway(loader, host, dist, shards):
    one = loader()
    most = total(shards) // 2
    session = one.context.new_cdp_session(one.page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": host.url[:-1], "quotaSize": most})
    assert one.download() == "memory"
    stored = one.stored()
    assert stored["kind"] == "opfs" and 0 < stored["bytes"] <= most
    assert all(one.holds(dist, shard) for shard in shards)
    again = [shard["file"] for shard in shards if len(host.asked[shard["file"]]) > 1]
    assert len(again) <= 3, "only those that were arriving when the disk was full"
    assert one.scope.evaluate("() => loader.last()")["loadedBytes"] == total(shards)
    session.send("Storage.overrideQuotaForOrigin", {"origin": host.url[:-1]})
    # What was given up midway left room, which a whole file in the next storage may have taken.
    others = one.scope.evaluate("async () => (await (await caches.open('trefoil-shards')).keys())"
                                ".length")
    assert one.download() == ("cache" if others else "opfs")
    assert one.progress()[0]["cachedBytes"] == stored["bytes"]


def test_what_is_kept_is_told_and_deleted(loader, host, shards):
    one = loader()
    assert one.stored() == {"bytes": 0, "files": 0, "kind": None}
    one.download("cache")
    one.delete("model/manifest.json")
    assert one.stored() == {"bytes": 0, "files": 0, "kind": None}
    one.download("opfs")
    one.scope.evaluate("""async () => {
      const root = await navigator.storage.getDirectory();
      await root.getFileHandle('trefoil-kernels.json', { create: true });
      const folder = await root.getDirectoryHandle('trefoil');
      const old = await folder.getFileHandle('0'.repeat(64) + '.bin', { create: true });
      const access = await old.createSyncAccessHandle();
      access.write(new Uint8Array(77));
      access.close();
    }""")
    own = {"bytes": total(shards), "files": len(shards), "kind": "opfs"}
    assert one.stored("model/manifest.json") == own
    assert one.stored() == own | {"bytes": own["bytes"] + 77, "files": own["files"] + 1}
    one.delete("model/manifest.json")
    assert one.stored() == {"bytes": 77, "files": 1, "kind": "opfs"}
    one.delete()
    assert one.stored() == {"bytes": 0, "files": 0, "kind": None}
    assert one.scope.evaluate("""async () => {
      const root = await navigator.storage.getDirectory();
      return (await Array.fromAsync(root.keys())).sort();
    }""") == ["trefoil", "trefoil-kernels.json"]


# ---- the whole library --------------------------------------------------------------------------

PAUSED = """
async ({ url, pauseAt }) => {
  const abort = new AbortController();
  const manifest = new URL('model/manifest.json', url);
  const events = [[], []];
  const load = (events, signal) => library.trefoil.loadPipeline(manifest, { signal,
    onProgress: (event) => {
      if (event.phase !== 'prepare') events.push(event); // kernels, some or none
      if (event.phase === 'download' && event.loadedBytes >= pauseAt) abort.abort();
    } });
  const paused = await load(events[0], abort.signal).then(() => 'loaded', ({ name }) => name);
  const pipe = await load(events[1]);
  const { info } = pipe;
  pipe.destroy();
  return { paused, events, info };
}
"""


def test_a_pause_of_the_whole_pipeline(loader, host, shards):
    one, host.rate = loader(), 5e6
    outcome = one.scope.evaluate(PAUSED, {"url": host.url, "pauseAt": total(shards) // 2})
    assert outcome["paused"] == "AbortError"
    assert outcome["info"]["storage"] == "opfs"
    for events in outcome["events"]:
        assert [event["phase"] for event in events[:2]] == ["check", "download"]
        for event in events:
            assert event["totalBytes"] == total(shards)
            assert event["cachedBytes"] <= event["loadedBytes"] <= total(shards)
    first, second = outcome["events"]
    assert first[0]["cachedBytes"] == 0
    assert second[0]["cachedBytes"] == second[1]["cachedBytes"] >= total(shards) // 2
    assert second[1]["loadedBytes"] == second[1]["cachedBytes"]
    assert second[-1]["loadedBytes"] == total(shards)


ASKED = """
async () => {
  const told = {};
  for (const [name, ask] of Object.entries({ opfs: () => navigator.storage.getDirectory(),
    cache: () => caches.open('x'), locks: () => navigator.locks.request('x', () => {}) })) {
    try { await ask(); } catch (error) { told[name] = error.name; }
  }
  return told;
}
"""


def test_a_sandboxed_frame_of_another_site_that_may_keep_nothing(browser, host, shards):
    """Chromium's own refusal: the page around is localhost, the frame 127.0.0.1."""
    with Library(browser, host.url) as library:
        library.page.route("http://localhost/", lambda route: route.fulfill(
            body=f'<iframe sandbox="allow-scripts allow-same-origin" src="{host.url}empty.html">'
            "</iframe>", content_type="text/html"))
        library.page.goto("http://localhost/")
        frame = library.page.query_selector("iframe").content_frame()
        frame.wait_for_load_state()
        assert frame.evaluate(ASKED) == dict.fromkeys(["opfs", "cache", "locks"], "SecurityError")
        frame.evaluate("async ([url, code]) => { globalThis.library = { code, trefoil: "
                       "await import(new URL('trefoil.js', url)) }; }",
                       [host.url, code_url(host.url)])
        frame.evaluate(SETUP, host.url)
        frame.evaluate("() => loader.begin('auto')")
        assert frame.evaluate("() => loader.ended()") == {"value": "memory"}
        assert frame.evaluate("() => library.trefoil.storedBytes()")["bytes"] == 0
    assert host.shards() == once(shards)
