"""The folded schedule: its tables against torch, its pictures against those of the projections."""

import json
import shutil

import numpy as np
import pytest
import torch

from export.samplers.flow_euler import times as timesteps
from tests.browser.library import Library, LibraryError
from tests.closeness import psnr
from tests.export.packed import PackedSite
from tests.reference import load_pipeline

REQUEST = {"prompt": "an old pine in the snow", "seed": 7, "width": 64, "height": 48}
CUSTOM = {"width": 40, "height": 56, "steps": 3}
TABLE_LIMIT = 3e-5  # relative L2 error of a row's part; most of it is torch's own exp in float32
LEAST_PSNR = 60.0


@pytest.fixture(scope="module")
def dist(made, site):
    return site(made("shallow"))


@pytest.fixture(scope="module")
def unfolded(dist, server, tmp_path_factory):
    """The address of the same site, told that it has no tables."""
    copy = tmp_path_factory.mktemp("unfolded") / "dist"
    shutil.copytree(dist, copy)
    path = copy / "model" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for table in manifest["schedules"]["tables"]:
        del manifest["tensors"][table["tensor"]]
    manifest["schedules"]["tables"] = []
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return server(copy)


class Folded(Library):
    """Counts the shards that the page asks for."""

    def __init__(self, browser, url):
        super().__init__(browser, url)
        self.shards = []
        self.page.on("request", lambda request: request.url.endswith(".bin")
                     and self.shards.append(request.url.rsplit("/", 1)[1]))

    def taken(self):
        """Shards asked for since the last time."""
        shards, self.shards = self.shards, []
        return shards


def on_demand(dist):
    shards = PackedSite(dist).manifest["shards"]
    return [shard for shard in shards if shard.get("onDemand")]


def shards_of(dist, *names):
    """The shards of the tensors."""
    manifest = PackedSite(dist).manifest
    indices = {shard for name in names for part in ("data", "codes", "scales")
               for shard, _, _ in manifest["tensors"][name].get(part, [])}
    return [manifest["shards"][index] for index in sorted(indices)]


def projections_of(dist):
    manifest = PackedSite(dist).manifest
    return shards_of(dist, *manifest["schedules"]["projections"])


@torch.no_grad()
def table_errors(built, transformer):
    """(tokens, steps) -> the worst relative L2 error of a modulation in that table against
    torch's modules in float32."""
    silu = torch.nn.functional.silu
    errors = {}
    for table in built.manifest["schedules"]["tables"]:
        name, tokens, steps = table["tensor"], table["tokens"], table["steps"]
        times = torch.from_numpy(timesteps(steps, tokens, built.manifest["sampler"]["config"]))
        temb = transformer.time_guidance_embed(times, None)
        want = [transformer.double_stream_modulation_img(temb),
                transformer.double_stream_modulation_txt(temb),
                transformer.single_stream_modulation(temb),
                transformer.norm_out.linear(silu(temb))]
        rows = built.weight(name)
        ends = np.cumsum([part.shape[1] for part in want])
        assert rows.shape == (len(times), ends[-1])
        parts = zip(np.split(rows, ends[:-1], axis=1), want, strict=True)
        errors[tokens, steps] = max(relative_error(got, part) for got, part in parts)
    return errors


def relative_error(got, want):
    """Of the worst row."""
    want = want.double().numpy()
    return (np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)).max()


@pytest.mark.parametrize(("shape", "variant", "layout"), [
    ("klein", "ternary", "mlx"), ("uneven", "binary", "unpacked"),
])
def test_tables_are_what_torch_computes(shape, variant, layout, made, site):
    folder = made(shape, variant, layout)
    errors = table_errors(PackedSite(site(folder)), load_pipeline(folder).transformer)
    worst = max(errors.values())
    print(f"{shape} {variant}: worst relative error of a table's row {worst:.1e}")
    assert worst <= TABLE_LIMIT


def test_offered_schedules_draw_the_same_without_the_projections(dist, url, unfolded, browser):
    schedules = [REQUEST | {"steps": steps} for steps in range(1, 9)]
    manifest = PackedSite(dist).manifest
    default = manifest["pipeline"]["num_inference_steps"]
    tokens = REQUEST["width"] * REQUEST["height"] // manifest["latents"]["pixels"] ** 2
    with Folded(browser, url) as library:
        library.load()
        assert len(library.taken()) == len(PackedSite(dist).shards) - len(on_demand(dist))
        folded = []
        for request in schedules:
            steps = request["steps"]
            table, = shards_of(dist, f"transformer.folded.{tokens}.{steps}")
            later = table.get("onDemand", False)
            assert later == (steps != default)
            assert library.extra_bytes(**request) == later * table["bytes"]
            folded.append(library.generate(**request)["rgba"])
            assert library.taken() == [table["file"]] * later
            assert library.extra_bytes(**request) == 0
    with Folded(browser, unfolded) as library:
        library.load()
        library.taken()
        for request, picture in zip(schedules, folded, strict=True):
            got = library.generate(**request)["rgba"]
            ratio = psnr(got[..., :3], picture[..., :3])
            assert ratio >= LEAST_PSNR, f"{request['steps']} steps: PSNR {ratio:.1f} dB"
        assert library.taken()


def test_another_size_fetches_the_projections_once(dist, url, unfolded, browser):
    projections = projections_of(dist)
    with Folded(browser, url) as library:
        library.load()
        library.taken()
        foreseen = library.extra_bytes(**CUSTOM)
        assert foreseen == sum(shard["bytes"] for shard in projections) > 0
        plan = library.plan(**CUSTOM)
        assert not library.taken()
        first = library.generate(**REQUEST | CUSTOM)
        assert sorted(library.taken()) == sorted(shard["file"] for shard in projections)
        told = [event for event in first["progress"] if event["stage"] == "download"]
        assert told[-1]["loadedBytes"] == told[-1]["totalBytes"] == foreseen
        assert first["progress"].index(told[-1]) == len(told) - 1, "drawing began before"
        assert first["peakBytes"] == plan["peakBytes"]
        assert library.extra_bytes(**CUSTOM) == 0
        again = library.generate(**REQUEST | CUSTOM)
        more = library.generate(**REQUEST | {"steps": 9})
        assert not library.taken() and more["rgba"].any()
        library.load()
        assert library.extra_bytes(**CUSTOM) == 0, "the shards were not kept"
    np.testing.assert_array_equal(again["rgba"], first["rgba"])
    with Folded(browser, unfolded) as library:
        library.load()
        np.testing.assert_array_equal(library.generate(**REQUEST | CUSTOM)["rgba"], first["rgba"])


def test_the_download_can_be_cancelled_and_begun_again(url, browser):
    with Folded(browser, url) as library:
        library.load(storage="memory")
        needed = library.extra_bytes(**CUSTOM)
        with pytest.raises(LibraryError) as caught:
            library.generate(cancel_at={"stage": "download", "step": 0}, **REQUEST | CUSTOM)
        assert caught.value.name == "AbortError"
        assert library.extra_bytes(**CUSTOM) == needed
        assert library.generate(**REQUEST | CUSTOM)["rgba"].any()


def test_damaged_projections_are_refused(dist, server, browser, tmp_path):
    copy = tmp_path / "dist"
    shutil.copytree(dist, copy)
    name = projections_of(copy)[0]["file"]
    path = copy / "model" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with Folded(browser, server(copy)) as library:
        library.load()
        with pytest.raises(LibraryError) as caught:
            library.generate(**REQUEST | CUSTOM)
        assert caught.value.name == "DownloadError" and name in caught.value.message
        assert library.generate(**REQUEST)["rgba"].any()
