"""The one fetch of all files: what it is patient with, and in which sentence it gives up."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.browser import flaky
from tests.browser.flaky import FlakyServer
from tests.browser.library import LibraryError
from tests.browser.loader import Loader

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
HURRY = {"firstWait": 4, "longestWait": 40, "offlineWait": 40}  # ms; 1000 times as fast
STALL_MS = 1500

# How a file other than a shard comes, by kind: the file's name, and what fetches it.
SMALL = {
    "kernel": ("rms_norm.wgsl", """async ({ signal, onWait, url }) => {
      const { Kernels } = await loader.module('engine/kernels.js');
      const kernels = new Kernels(null, new URL('wgsl/', loader.code));
      await kernels.load(['rms_norm', 'layer_norm'], { signal, onWait });
      return kernels.interface('rms_norm').name;
    }"""),
    "manifest": ("manifest.json", """async ({ signal, onWait, url }) => {
      const { fetchManifest } = await loader.module('loader/manifest.js');
      return (await fetchManifest(new URL('model/manifest.json', url), { signal, onWait })).format;
    }"""),
    "tokenizer": ("tokenizer.json", """async ({ signal, onWait, url }) => {
      const { PromptTokenizer } = await loader.module('models/tokenizer.js');
      const template = { file: 'tokenizer.json', prefix: '', suffix: '', pad_token_id: 0 };
      const manifest = { tokenizer: template, pipeline: { max_sequence_length: 4 } };
      const tokenizer = await PromptTokenizer.load(manifest, new URL('model/', url),
        { signal, onWait });
      return tokenizer.encode('a pine').ids.length;
    }"""),
}
CAME = {"kernel": "rms_norm", "manifest": "trefoil-1", "tokenizer": 4}
FETCH = """
([fetch, url]) => {
  const abort = new AbortController();
  loader.progress = [];
  loader.stop = () => abort.abort();
  loader.running = eval(`(${fetch})`)({ signal: abort.signal, url,
    onWait: (wait) => loader.progress.push(wait ?? {}) })
    .then((value) => ({ value }), ({ name, message }) => ({ error: { name, message } }));
}
"""


@pytest.fixture(scope="module")
def dist(site, tmp_path_factory):
    """The tokenizer's name is of no interest here."""
    copy = tmp_path_factory.mktemp("fetching") / "dist"
    shutil.copytree(site(GARDEN, shard_mib=0.25), copy)
    [tokenizer] = (copy / "model").glob("tokenizer*.json")
    if tokenizer.name != "tokenizer.json":
        shutil.copy(tokenizer, copy / "model" / "tokenizer.json")
    return copy


@pytest.fixture(scope="module")
def shards(dist):
    """Those of a first picture, the largest first."""
    manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
    first = [shard | {"index": index} for index, shard in enumerate(manifest["shards"])
             if not shard.get("onDemand")]
    return sorted(first, key=lambda shard: -shard["bytes"])


@pytest.fixture
def host(dist):
    with FlakyServer(dist) as host:
        yield host


@pytest.fixture
def loader(browser, host):
    """loader(**options) -> a Loader in a hurry, closed at the end."""
    opened = []

    def start(**options):
        opened.append(Loader(browser, host, **options))
        opened[-1].limit(**HURRY)
        return opened[-1]

    yield start
    for one in opened:
        one.context.close()


def begin_small(one, kind):
    one.scope.evaluate(FETCH, [SMALL[kind][1], one.url])


def small(one, kind):
    """What came. Raises LibraryError."""
    begin_small(one, kind)
    return one.call("() => loader.running", None)


def refused(one, fetch, *arguments):
    with pytest.raises(LibraryError) as caught:
        fetch(one, *arguments)
    assert caught.value.name == "DownloadError"
    return caught.value.message


# ---- what passes --------------------------------------------------------------------------------

PASSING = {  # faults in a row, after which the file comes
    "503": [flaky.refuse(503)] * 4,
    "500": [flaky.refuse(500)],
    "429": [flaky.refuse(429, Retry_After="0")] * 4,
    "425": [flaky.refuse(425)] * 4,
    "408": [flaky.refuse(408)],
    "401": [flaky.refuse(401)] * 3,
    "403": [flaky.refuse(403)] * 3,
    "409": [flaky.refuse(409)] * 3,
    "404": [flaky.refuse(404)] * 2,
    "410": [flaky.refuse(410)],
    "a page": [flaky.page()],
    "XML": [flaky.page("application/xml", '\ufeff<?xml version="1.0"?><Error/>')],
    "cut": [flaky.cut(100)] * 4,
    "short": [flaky.short(100)] * 3,
    "empty": [flaky.short(0)] * 3,
    "signed": [flaky.SIGNED, flaky.refuse(403), flaky.SIGNED],
}


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_waited_for(loader, host, kind, fault):
    one, [name, _] = loader(), SMALL[kind]
    host.spoil(name, *PASSING[fault])
    assert small(one, kind) == CAME[kind]
    healed = 0 if fault == "signed" else 1
    # The signed answer that is good ends it before the faults behind it come.
    want = 1 if fault == "signed" else len(PASSING[fault]) + healed
    assert host.asked[name] == [None] * want


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_waited_for_by_shards(loader, host, dist, shards, fault):
    one, file = loader(), shards[0]["file"]
    host.spoil(file, *PASSING[fault])
    assert one.download() == "opfs"
    assert one.holds(dist, shards[0])
    came = {"cut": 100, "short": 100}.get(fault, 0)
    assert host.sent[file] <= shards[0]["bytes"], "nothing twice"
    if came:
        times = len(PASSING[fault])
        assert host.asked[file] == [None, *(f"bytes={came * n}-" for n in range(1, times + 1))]
    else:
        assert set(host.asked[file]) == {None}
    lengths = [event["loadedBytes"] for event in one.progress()]
    assert lengths == sorted(lengths), "what has come stays"


STALLS = {"silent": flaky.SILENT, "within the body": flaky.hold(100)}


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("kind", [*SMALL, "shard"])
def test_a_connection_that_stalls_is_given_up_and_the_file_comes(loader, host, shards, kind, stall):
    one = loader()
    one.limit(stall=STALL_MS)
    name = shards[0]["file"] if kind == "shard" else SMALL[kind][0]
    host.spoil(name, STALLS[stall], STALLS[stall])
    if kind != "shard":
        assert small(one, kind) == CAME[kind]
    else:
        assert one.download() == "opfs"
        if stall == "within the body":
            assert host.asked[name][:3] == [None, "bytes=100-", "bytes=200-"]
    assert len(host.asked[name]) >= 3


# ---- what does not pass -------------------------------------------------------------------------

STAYING = {  # a fault that stays: requests of a small file, and the words of the sentence
    "403": (flaky.refuse(403), 4, "refuses it \\(403\\).*expired.*permission"),
    "401": (flaky.refuse(401), 4, "refuses it \\(401\\)"),
    "409": (flaky.refuse(409), 4, "answered 409.*Reload the page"),
    "404": (flaky.refuse(404), 3, "answered 404: the file is not there.*uploaded again"),
    "503": (flaky.refuse(503), 5, "answered 503.*5 times.*Try again later"),
    "an hour": (flaky.refuse(429, Retry_After="3600"), 1, "asks to wait until \\d\\d:\\d\\d"),
    "a date": (flaky.refuse(503, Retry_After="Fri, 31 Dec 2100 12:00:00 GMT"), 1,
               "asks to wait until .* on 2100-12-31"),
    "a page": (flaky.page(), 2, "sent a web page in place of .*missing there.*rewrites addresses"),
    "a bare tag": (flaky.page("text/plain", "<svg></svg>"), 2, "sent a web page in place of"),
    "a loop": (flaky.LOOP, 22, "redirects the address, in a circle"),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*SMALL, "shard"])
@pytest.mark.parametrize("fault", STAYING)
def test_what_stays_is_told(loader, host, shards, kind, fault):
    one = loader()
    name = shards[0]["file"] if kind == "shard" else SMALL[kind][0]
    spoilt, requests, words = STAYING[fault]
    if kind == "shard" and fault == "a bare tag":
        return  # bytes like any others, whose hash is wrong
    host.keep(name, spoilt)
    message = refused(one, Loader.download) if kind == "shard" else refused(one, small, kind)
    assert name in message and re.search(words, message, re.DOTALL), message
    assert message.endswith(".")
    assert len(host.asked[name]) == requests
    host.heal()
    assert one.download() == "opfs" if kind == "shard" else small(one, kind) == CAME[kind]


@pytest.mark.parametrize("kind", [*SMALL, "shard"])
def test_a_stall_that_stays_is_told(loader, host, shards, kind):
    one = loader()
    one.limit(stall=STALL_MS)
    name = shards[0]["file"] if kind == "shard" else SMALL[kind][0]
    host.keep(name, flaky.SILENT)
    message = refused(one, Loader.download) if kind == "shard" else refused(one, small, kind)
    assert name in message and "nothing came any more" in message and "5 times" in message


@pytest.mark.parametrize(("kind", "text", "words"), [
    ("manifest", "{", "manifest.json is not JSON: .*build the site again"),
    ("tokenizer", '{"model": ', "tokenizer.json is not JSON: "),
    ("kernel", "fn main() {", "rms_norm.wgsl is not a whole kernel: its text ends early"),
    ("kernel", "fn main() {}", "rms_norm.wgsl is not a kernel: .*struct Dims"),
])
def test_what_is_no_such_file_is_told(loader, host, kind, text, words):
    one = loader()
    host.keep(SMALL[kind][0], flaky.page("text/plain", text))
    assert re.search(words, refused(one, small, kind))
    assert len(host.asked[SMALL[kind][0]]) == 4


# ---- ranges -------------------------------------------------------------------------------------

def half(shard):
    return shard["bytes"] // 2


def test_a_server_that_sends_in_pieces(loader, host, dist, shards):
    one, [shard, *_] = loader(), shards
    piece = shard["bytes"] // 8
    host.keep(shard["file"], flaky.pieces(piece))
    assert one.download() == "opfs"
    assert one.holds(dist, shard)
    assert host.sent[shard["file"]] == shard["bytes"]
    assert len(host.asked[shard["file"]]) == 8
    assert not any("retryInMs" in event for event in one.progress()), "no wait between them"


def test_a_body_that_ends_early_again_and_again(loader, host, dist, shards):
    one, [shard, *_] = loader(), shards
    host.keep(shard["file"], flaky.short(half(shard) // 8))
    assert one.download() == "opfs"
    assert one.holds(dist, shard)
    assert host.sent[shard["file"]] == shard["bytes"]
    one.delete()
    host.heal()
    host.forget()
    host.spoil(shard["file"], flaky.short(half(shard)))
    host.keep(shard["file"], flaky.short(0))
    message = refused(one, Loader.download)
    assert f"ends early: {half(shard)} bytes came of {shard['bytes']}" in message
    assert "damaged" not in message and "What has arrived is kept" in message
    host.heal()
    host.forget()
    assert one.download() == "opfs"
    assert host.asked[shard["file"]] == [f"bytes={half(shard)}-"]


RANGES = {  # what becomes of ranges; the requests after the first, "a range" or "all"
    "503 each time": (flaky.refuse(503), ["a range", "a range", "all"]),
    "403 each time": (flaky.refuse(403), ["a range", "a range", "all"]),
    "404 each time": (flaky.refuse(404), ["a range", "a range", "all"]),
    "416": (flaky.refuse(416), ["a range", "all"]),
    "cut each time": (flaky.cut(0), ["a range", "a range", "all"]),
    "elsewhere": (flaky.claims("bytes 200000-262143/262144"), ["a range", "a range", "all"]),
    "of another file": (flaky.claims("bytes 131072-262143/999999"), ["a range", "all"]),
    "multipart": (flaky.claims(None, "multipart/byteranges; boundary=x"), ["a range", "all"]),
    "no Content-Range": (flaky.claims(None), ["a range"]),
    "garbage": (flaky.claims("bytes all of them"), ["a range"]),
    "without a total": (flaky.claims("bytes 131072-262143/*"), ["a range"]),
}


@pytest.mark.parametrize("fault", RANGES)
def test_ranges_that_go_wrong(loader, host, dist, shards, fault):
    one, [shard, *_] = loader(), shards
    assert shard["bytes"] == 262144
    spoilt, requests = RANGES[fault]
    file = shard["file"]
    host.spoil(file, flaky.cut(half(shard)))
    host.keep(file, flaky.of_ranges(spoilt))
    assert one.download() == "opfs"
    assert one.holds(dist, shard)
    want = {"a range": f"bytes={half(shard)}-", "all": None}
    assert host.asked[file] == [None, *(want[request] for request in requests)]
    lengths = [event["loadedBytes"] for event in one.progress()]
    assert lengths == sorted(lengths), "what came is kept, and passed over in the whole file"


def test_wrong_bytes_in_a_range_are_fetched_again_as_a_whole(loader, host, dist, shards):
    one, [shard, *_] = loader(), shards
    host.spoil(shard["file"], flaky.cut(half(shard)), flaky.WRONG, flaky.cut(half(shard)))
    assert one.download() == "opfs"
    assert one.holds(dist, shard)
    assert host.asked[shard["file"]] == [None, f"bytes={half(shard)}-", None, None]


@pytest.mark.parametrize("fault", [flaky.PACKED, flaky.PACKED_UNSAID], ids=["said", "unsaid"])
def test_a_host_that_packs_whole_files_and_sends_ranges_of_the_packed(
    loader, host, dist, shards, fault
):
    one, [shard, *_] = loader(), shards
    host.spoil(shard["file"], fault | {"cut": half(shard)})
    host.keep(shard["file"], fault)
    assert one.download() == "opfs"
    assert one.holds(dist, shard)
    first, second, *more = host.asked[shard["file"]]
    assert first is None and second.startswith("bytes=") and more == [None]
    lengths = [event["loadedBytes"] for event in one.progress()]
    assert lengths == sorted(lengths)


def test_a_redirected_address_is_never_asked_again(loader, host, dist, shards):
    """What it was signed for is over; the address itself gives a new one."""
    one, [shard, *_] = loader(), shards
    host.spoil(shard["file"], flaky.SIGNED, flaky.SIGNED)
    host.signed_faults = [flaky.cut(half(shard))]
    assert one.download() == "opfs"
    assert one.holds(dist, shard)
    assert host.asked[shard["file"]] == [None, f"bytes={half(shard)}-"]


# ---- the network --------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [*SMALL, "shard"])
def test_a_network_that_is_away_is_waited_for(loader, host, shards, kind):
    one = loader()
    host.leave()
    begin_small(one, kind) if kind != "shard" else one.begin("memory")
    one.until("p.offline")
    seen = len(one.progress())
    one.until(f"loader.progress.length > {seen + 20}")  # more often than any file is tried
    host.come_back()
    if kind == "shard":
        assert one.ended() == "memory"
    else:
        assert one.call("() => loader.running", None) == CAME[kind]


WAITS = {
    "before an answer": (flaky.SILENT, "true"),
    "within the body": (flaky.hold(100), "true"),
    "until it is tried again": (flaky.refuse(503, Retry_After="100"), "p.retryInMs === 100000"),
    "until the network is back": (None, "p.offline"),
}


@pytest.mark.parametrize("kind", [*SMALL, "shard"])
@pytest.mark.parametrize("wait", WAITS)
def test_cancel_acts_at_once(loader, host, shards, kind, wait):
    one = loader()
    one.limit(stall=600_000)
    name = shards[0]["file"] if kind == "shard" else SMALL[kind][0]
    fault, condition = WAITS[wait]
    host.keep(name, fault or flaky.hold(0))
    if not fault:
        one.limit(offlineWait=600_000, firstWait=600_000)
    begin_small(one, kind) if kind != "shard" else one.begin()
    host.until_asked(name)
    if not fault:
        host.leave()
    if condition != "true":
        one.until(condition)
    if kind == "shard":
        one.abort()
    else:
        one.scope.evaluate("() => loader.stop()")
        with pytest.raises(LibraryError) as caught:
            one.call("() => loader.running", None)
        assert caught.value.name == "AbortError"
    if not fault:
        host.come_back()
