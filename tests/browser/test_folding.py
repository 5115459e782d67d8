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
def dist(made, site, tmp_path_factory):
    """A copy, of which a test may damage a file for a while."""
    copy = tmp_path_factory.mktemp("folding") / "dist"
    shutil.copytree(site(made("shallow")), copy)
    return copy


@pytest.fixture(scope="module")
def folded(browser, url):
    """Loaded once; `first` are the shards that it asked for."""
    with Folded(browser, url) as library:
        library.load()
        library.first = library.taken()
        yield library


@pytest.fixture(scope="module")
def unfolded(dist, server, browser, tmp_path_factory):
    """Loaded from the same site, told that it has no tables."""
    copy = tmp_path_factory.mktemp("unfolded") / "dist"
    shutil.copytree(dist, copy)
    path = copy / "model" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for table in manifest["schedules"]["tables"]:
        del manifest["tensors"][table["tensor"]]
    manifest["schedules"]["tables"] = []
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with Folded(browser, server(copy)) as library:
        library.load()
        library.taken()
        yield library


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
    built = PackedSite(site(folder, with_image_input=True))  # as other tests have it built
    errors = table_errors(built, load_pipeline(folder).transformer)
    worst = max(errors.values())
    print(f"{shape} {variant}: worst relative error of a table's row {worst:.1e}")
    assert worst <= TABLE_LIMIT


def test_offered_schedules_draw_the_same_without_the_projections(dist, folded, unfolded):
    schedules = [REQUEST | {"steps": steps} for steps in range(1, 9)]
    manifest = PackedSite(dist).manifest
    default = manifest["pipeline"]["num_inference_steps"]
    tokens = REQUEST["width"] * REQUEST["height"] // manifest["latents"]["pixels"] ** 2
    assert len(folded.first) == len(PackedSite(dist).shards) - len(on_demand(dist))
    for request in schedules:
        steps = request["steps"]
        table, = shards_of(dist, f"transformer.folded.{tokens}.{steps}")
        later = table.get("onDemand", False)
        assert later == (steps != default)
        assert folded.extra_bytes(**request) == later * table["bytes"]
        picture = folded.generate(**request)["rgba"]
        assert folded.taken() == [table["file"]] * later
        assert folded.extra_bytes(**request) == 0
        got = unfolded.generate(**request)["rgba"]
        ratio = psnr(got[..., :3], picture[..., :3])
        assert ratio >= LEAST_PSNR, f"{steps} steps: PSNR {ratio:.1f} dB"
    assert unfolded.taken()


def test_another_size_fetches_the_projections_once(dist, folded, unfolded):
    projections = projections_of(dist)
    foreseen = folded.extra_bytes(**CUSTOM)
    assert foreseen == sum(shard["bytes"] for shard in projections) > 0
    plan = folded.plan(**CUSTOM)
    assert not folded.taken()
    first = folded.generate(**REQUEST | CUSTOM)
    assert sorted(folded.taken()) == sorted(shard["file"] for shard in projections)
    told = [event for event in first["progress"] if event["stage"] == "download"]
    assert told[-1]["loadedBytes"] == told[-1]["totalBytes"] == foreseen
    assert first["progress"].index(told[-1]) == len(told) - 1, "drawing began before"
    assert first["peakBytes"] == plan["peakBytes"]
    assert folded.extra_bytes(**CUSTOM) == 0
    again = folded.generate(**REQUEST | CUSTOM)
    more = folded.generate(**REQUEST | {"steps": 9})
    assert not folded.taken() and more["rgba"].any()
    np.testing.assert_array_equal(again["rgba"], first["rgba"])
    np.testing.assert_array_equal(unfolded.generate(**REQUEST | CUSTOM)["rgba"], first["rgba"])
    folded.load()
    assert folded.extra_bytes(**CUSTOM) == 0, "the shards were not kept"


def test_the_download_can_be_cancelled_or_go_wrong_and_be_begun_again(dist, folded):
    folded.load(storage="memory")
    needed = folded.extra_bytes(**CUSTOM)
    with pytest.raises(LibraryError) as caught:
        folded.generate(cancel_at={"stage": "download", "step": 0}, **REQUEST | CUSTOM)
    assert caught.value.name == "AbortError"
    assert folded.extra_bytes(**CUSTOM) == needed
    path = dist / "model" / projections_of(dist)[0]["file"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\xff")
    with pytest.raises(LibraryError) as caught:
        folded.generate(**REQUEST | CUSTOM)
    assert caught.value.name == "DownloadError" and path.name in caught.value.message
    assert folded.generate(**REQUEST)["rgba"].any()
    path.write_bytes(whole)
    assert folded.generate(**REQUEST | CUSTOM)["rgba"].any()
