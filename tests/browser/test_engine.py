"""What trefoil.js promises besides pictures: refusals, cancelling, memory, repeatability."""

import json
import math
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from tests.browser.library import Library, LibraryError
from tests.browser.loader import Loader
from tests.hosting import Host

REQUEST = {"prompt": "an old pine in the snow", "seed": 7, "width": 48, "height": 64, "steps": 3}


# Loads a pipeline beside the one of `library`, and destroys it once `work` is done with it.
LOAD = """
async ([options, work]) => {
  try {
    const pipe = await library.trefoil.loadPipeline(new URL('../model/manifest.json', library.code),
      { storage: 'memory', ...options });
    return { value: await eval(work)(pipe).finally(() => pipe.destroy()) };
  } catch ({ name, message }) {
    return { error: { name, message } };
  }
}
"""


@pytest.fixture(scope="module")
def dist(made, site, tmp_path_factory):
    """A copy, whose files `changed` changes for a while."""
    copy = tmp_path_factory.mktemp("engine") / "dist"
    shutil.copytree(site(made("shallow")), copy)
    return copy


@pytest.fixture(scope="module")
def host(dist):
    with Host(dist) as host:
        yield host


@pytest.fixture(scope="module")
def library(host, browser):
    """In a hurry with what does not come. `info` is what the load told."""
    with Library(browser, host.url) as library:
        library.limit(firstWait=4)
        library.info = library.load()
        yield library


@pytest.fixture(scope="module")
def drawn(library):
    """The picture that nothing disturbed."""
    return library.generate(**REQUEST)


def load(library, work="async () => null", **options):
    """What `work`, JavaScript, makes of another pipeline of the same page."""
    return library.call(LOAD, [options, work])


def refusal(library, **options):
    with pytest.raises(LibraryError) as caught:
        load(library, **options)
    return caught.value


@contextmanager
def changed(path, change):
    """The file as change(bytes) makes it, gone if that is None."""
    before = path.read_bytes()
    after = change(before)
    path.unlink() if after is None else path.write_bytes(after)
    try:
        yield path.name
    finally:
        path.write_bytes(before)


def first_shard(dist):
    manifest = json.loads((dist / "model" / "manifest.json").read_text(encoding="utf-8"))
    return dist / "model" / manifest["shards"][0]["file"]


# ---- requests ---------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "words"), [
    ({"width": 50}, ["width", "50", "48", "56"]),
    ({"height": 0}, ["height", "0", "8"]),
    ({"height": 64.5}, ["height", "64.5"]),
    ({"width": -8}, ["width", "-8"]),
    ({"steps": 0}, ["steps", "0", "1", "50"]),
    ({"steps": 51}, ["steps", "51", "50"]),
    ({"steps": 1.5}, ["steps", "1.5"]),
    ({"seed": -1}, ["seed", "-1"]),
    ({"seed": 2.0**53}, ["seed", str(2**53), str(2**53 - 1)]),
    ({"seed": math.nan}, ["seed", "NaN"]),
    ({"prompt": 7}, ["prompt", "string"]),
    ({"guidanceScale": 1}, ["guidanceScale", "1", "takes none", "Leave guidanceScale out"]),
    ({"negativePrompt": ""}, ["negativePrompt", '""', "takes none", "Leave negativePrompt out"]),
], ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict)
    else "")
def test_refused_request(library, change, words):
    with pytest.raises(LibraryError) as caught:
        library.generate(**REQUEST | change)
    assert caught.value.name == "InputError"
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize("change", [
    {"seed": 2**53 - 1, "steps": 1}, {"width": 8, "height": 8, "steps": 1},
    {"prompt": "", "steps": 1}, {"steps": 50, "width": 8, "height": 8},
], ids=lambda change: "-".join(f"{k}={v}" for k, v in change.items()))
def test_accepted_request(library, change):
    request = REQUEST | change
    picture = library.generate(**request)
    assert picture["rgba"].shape == (request["height"], request["width"], 4)
    assert len(picture["timings"]["stepMs"]) == request["steps"]


def test_defaults_come_from_the_model(library):
    picture = library.generate(prompt="fog")
    info = library.info
    assert [picture["width"], picture["height"]] == [info["pipeline"]["width"],
                                                     info["pipeline"]["height"]]
    assert len(picture["timings"]["stepMs"]) == info["pipeline"]["num_inference_steps"]


def test_the_model_says_that_it_takes_no_guidance(library):
    pipeline = library.info["pipeline"]
    assert pipeline["guidance"] == {"kind": "none", "scale": 1, "negative": False}
    for ask in (library.plan, library.extra_bytes):
        with pytest.raises(LibraryError, match="InputError: negativePrompt"):
            ask(negativePrompt="blur")


def test_second_request_while_drawing_is_refused(library, drawn):
    first, second = library.page.evaluate(
        "(request) => Promise.all([library.generate(request), library.generate(request)])", REQUEST)
    assert second["error"]["name"] == "InputError"
    assert "value" in first


# ---- repeatability and memory -----------------------------------------------------------------

def test_same_request_same_picture(library, drawn):
    again = library.generate(**REQUEST)
    np.testing.assert_array_equal(again["rgba"], drawn["rgba"])
    other = library.generate(**REQUEST | {"seed": 8})
    assert (other["rgba"] != drawn["rgba"]).any()


def test_reading_stages_does_not_change_the_picture(library, drawn):
    watched = library.generate(tensors=True, **REQUEST)
    np.testing.assert_array_equal(watched["rgba"], drawn["rgba"])


def test_memory_returns_to_where_it_was(library):
    small = REQUEST | {"steps": 1}
    large = small | {"width": 80, "height": 80}
    peaks = [library.generate(**request)["peakBytes"] for request in (small, small, large, small)]
    assert peaks[0] == peaks[1] == peaks[3] > 0
    assert peaks[2] > peaks[0]


def test_memory_is_told_by_stage(drawn):
    stages = drawn["stageBytes"]
    assert stages.keys() == {"encode", "reference", "denoise", "decode"}
    assert min(stages.values()) > 0 and max(stages.values()) == drawn["peakBytes"]


def test_progress_rises_to_one(drawn):
    progress = drawn["progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] == 1
    assert [event["stage"] for event in progress if event["fraction"] < 1] == sorted(
        (event["stage"] for event in progress if event["fraction"] < 1),
        key=["download", "encode", "denoise", "decode"].index)


# ---- cancelling -------------------------------------------------------------------------------

@pytest.mark.parametrize(("stage", "step"), [("encode", 0), ("denoise", 0), ("denoise", 1),
                                             ("decode", 0)])
def test_cancel(library, drawn, stage, step):
    with pytest.raises(LibraryError) as caught:
        library.generate(cancel_at={"stage": stage, "step": step}, **REQUEST)
    assert caught.value.name == "AbortError"
    later = library.page.evaluate("() => library.progress.filter((event) => event.afterAbort)")
    assert not later, "drawing went on after the abort"
    np.testing.assert_array_equal(library.generate(**REQUEST)["rgba"], drawn["rgba"])


def test_cancel_before_the_start(library):
    outcome = library.page.evaluate("""async (request) => {
      const name = (work) => work.then(() => 'drawn', (error) => error.name);
      const signal = AbortSignal.abort();
      return [await name(library.pipe.generate(request, { signal })),
        await name(library.trefoil.loadPipeline('./model/manifest.json', { signal }))];
    }""", REQUEST)
    assert outcome == ["AbortError", "AbortError"]


CANCELLED = """async () => {
  const abort = new AbortController();
  const onProgress = ({ phase }) => { if (phase === 'download') abort.abort(); };
  return library.trefoil.loadPipeline('./model/manifest.json',
    { signal: abort.signal, onProgress, storage: 'memory', kernels: 'safe' })
    .then(() => 'loaded', (error) => error.name);
}"""


def test_after_a_cancelled_download_another_load_draws_until_it_is_destroyed(library):
    assert library.page.evaluate(CANCELLED) == "AbortError"
    peak, outcome = load(library, f"""async (pipe) => {{
      const {{ peakBytes }} = await pipe.generate({json.dumps(REQUEST)});
      pipe.destroy();
      return [peakBytes, await pipe.generate({json.dumps(REQUEST)}).then(() => 'drawn',
        ({{ name }}) => name)];
    }}""", kernels="safe")
    assert peak > 0
    assert outcome == "InputError"


# ---- models that cannot be loaded -------------------------------------------------------------

def test_empty_manifest(library, dist):
    with changed(dist / "model" / "manifest.json", lambda data: b"{}"):
        error = refusal(library)
    assert error.name == "ModelError"
    assert "manifest.json" in error.message


@pytest.mark.parametrize(("version", "word"), [
    ("trefoil-1", "earlier"), ("trefoil-999", "later"), ("zip", "something else"),
])
def test_other_format(library, dist, version, word):
    path = dist / "model" / "manifest.json"
    with changed(path, lambda data: data.replace(b"trefoil-2", version.encode())):
        error = refusal(library)
    assert error.name == "ModelError"
    assert f"{word} " in error.message and version in error.message
    assert error.message.endswith("and this page reads trefoil-2: build the site again.")


def test_manifest_that_is_not_json(library, dist):
    with changed(dist / "model" / "manifest.json", lambda data: b"<!doctype html>"):
        error = refusal(library)
    assert error.name == "DownloadError"
    assert "manifest.json" in error.message


def test_missing_file(library, dist):
    for path in (dist / "model" / "manifest.json", dist / "model" / "tokenizer.json",
                 first_shard(dist)):
        with changed(path, lambda data: None) as name:
            error = refusal(library, kernels="safe")
        assert error.name == "DownloadError", name
        assert name in error.message


DAMAGE = {
    "flipped bit": lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
    "too short": lambda data: data[:-1],
    "too long": lambda data: data + b"\0",
}


def test_damaged_shard(plain, host, dist):
    with Loader(plain, host) as one:
        one.limit(firstWait=4)
        for damage, change in DAMAGE.items():
            with changed(first_shard(dist), change) as name:
                with pytest.raises(LibraryError) as caught:
                    one.download("memory")
            assert caught.value.name == "DownloadError", damage
            assert name in caught.value.message, damage


def test_no_gpu(host, plain):
    with Library(plain, host.url) as library:
        device = library.page.evaluate("() => library.trefoil.inspectDevice()")
        assert not device["ok"]
        assert device["reason"] and device["remedy"]
        with pytest.raises(LibraryError) as caught:
            library.load()
        assert caught.value.name == "UnsupportedError"


def test_gpu_is_described(library):
    device = library.page.evaluate("() => library.trefoil.inspectDevice()")
    assert device["ok"]
    assert device["limits"]["maxStorageBufferBindingSize"] >= 2**27
    assert set(device) >= {"ok", "reason", "remedy", "adapter", "features", "limits"}
