"""What trefoil.js promises besides pictures: refusals, cancelling, memory, repeatability."""

import json
import math
import shutil

import numpy as np
import pytest

from tests.browser.library import Library, LibraryError

REQUEST = {"prompt": "an old pine in the snow", "seed": 7, "width": 48, "height": 64, "steps": 3}


@pytest.fixture(scope="module")
def dist(made, site):
    return site(made("shallow"), shard_mib=1)


@pytest.fixture(scope="module")
def library(dist, server, browser):
    with Library(browser, server(dist)) as library:
        library.load()
        yield library


@pytest.fixture(scope="module")
def drawn(library):
    """The picture that nothing disturbed."""
    return library.generate(**REQUEST)


@pytest.fixture
def damaged(dist, server, browser, tmp_path):
    """damaged(change) -> the error that loading gives after change(model folder)."""
    copy = tmp_path / "dist"
    shutil.copytree(dist, copy)

    def load(change):
        change(copy / "model")
        with Library(browser, server(copy)) as library:
            library.limit(firstWait=4)
            with pytest.raises(LibraryError) as caught:
                library.load(storage="memory")
        return caught.value

    return load


def first_shard(model):
    manifest = json.loads((model / "manifest.json").read_text(encoding="utf-8"))
    return model / manifest["shards"][0]["file"]


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
    info = library.load()
    assert [picture["width"], picture["height"]] == [info["pipeline"]["width"],
                                                     info["pipeline"]["height"]]
    assert len(picture["timings"]["stepMs"]) == info["pipeline"]["num_inference_steps"]


def test_the_model_says_that_it_takes_no_guidance(library):
    pipeline = library.load()["pipeline"]
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
    large = small | {"width": 128, "height": 128}
    peaks = [library.generate(**request)["peakBytes"] for request in (small, small, large, small)]
    assert peaks[0] == peaks[1] == peaks[3] > 0
    assert peaks[2] > peaks[0]


def test_memory_is_told_by_stage(library):
    drawn = library.generate(**REQUEST)
    stages = drawn["stageBytes"]
    assert stages.keys() == {"encode", "reference", "denoise", "decode"}
    assert min(stages.values()) > 0 and max(stages.values()) == drawn["peakBytes"]


def test_progress_rises_to_one(library):
    progress = library.generate(**REQUEST)["progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] == 1
    assert [event["stage"] for event in progress if event["fraction"] < 1] == sorted(
        (event["stage"] for event in progress if event["fraction"] < 1),
        key=["encode", "denoise", "decode"].index)


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
      const pipe = await library.trefoil.loadPipeline('./model/manifest.json');
      const name = (work) => work.then(() => 'drawn', (error) => error.name);
      const signal = AbortSignal.abort();
      const names = [await name(pipe.generate(request, { signal })),
        await name(library.trefoil.loadPipeline('./model/manifest.json', { signal }))];
      pipe.destroy();
      return names;
    }""", REQUEST)
    assert outcome == ["AbortError", "AbortError"]


def test_cancel_the_download(dist, server, browser):
    with Library(browser, server(dist)) as library:
        name = library.page.evaluate("""() => {
          const abort = new AbortController();
          const onProgress = ({ phase }) => { if (phase === 'download') abort.abort(); };
          return library.trefoil.loadPipeline('./model/manifest.json',
            { signal: abort.signal, onProgress, storage: 'memory' })
            .then(() => 'loaded', (error) => error.name);
        }""")
        assert name == "AbortError"
        library.load()
        assert library.generate(**REQUEST)["peakBytes"] > 0


def test_destroyed_pipeline_refuses(dist, server, browser):
    with Library(browser, server(dist)) as library:
        library.load()
        library.page.evaluate("() => library.destroy()")
        with pytest.raises(LibraryError):
            library.generate(**REQUEST)


# ---- models that cannot be loaded -------------------------------------------------------------

def test_empty_manifest(damaged):
    error = damaged(lambda model: (model / "manifest.json").write_text("{}"))
    assert error.name == "ModelError"
    assert "manifest.json" in error.message


@pytest.mark.parametrize(("version", "word"), [
    ("trefoil-1", "earlier"), ("trefoil-999", "later"), ("zip", "something else"),
])
def test_other_format(damaged, version, word):
    def change(model):
        path = model / "manifest.json"
        path.write_text(path.read_text().replace("trefoil-2", version))

    error = damaged(change)
    assert error.name == "ModelError"
    assert f"{word} " in error.message and version in error.message
    assert error.message.endswith("and this page reads trefoil-2: build the site again.")


def test_manifest_that_is_not_json(damaged):
    error = damaged(lambda model: (model / "manifest.json").write_text("<!doctype html>"))
    assert error.name == "DownloadError"
    assert "manifest.json" in error.message


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json"])
def test_missing_file(damaged, name):
    error = damaged(lambda model: (model / name).unlink())
    assert error.name == "DownloadError"
    assert name in error.message


def test_missing_shard(damaged, dist):
    error = damaged(lambda model: first_shard(model).unlink())
    assert error.name == "DownloadError"
    assert first_shard(dist / "model").name in error.message


@pytest.mark.parametrize("damage", [
    lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
    lambda data: data[:-1],
    lambda data: data + b"\0",
], ids=["flipped bit", "too short", "too long"])
def test_damaged_shard(damaged, dist, damage):
    def change(model):
        path = first_shard(model)
        path.write_bytes(damage(path.read_bytes()))

    error = damaged(change)
    assert error.name == "DownloadError"
    assert first_shard(dist / "model").name in error.message


def test_no_gpu(dist, server, plain):
    with Library(plain, server(dist)) as library:
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
