"""Sites of a Sana whose denoiser is a file of its own and whose other parts are its base's."""

import shutil

import pytest

from tests.export.packed import PackedSite
from tests.export.tiny_sana import TinySana
from tests.sana_checkpoints import make_sana

SANA = TinySana(seed=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A whole folder of diffusers', with the tiny denoiser for its transformer."""
    folder = make_sana(tmp_path_factory.mktemp("sana") / "base", "wide")
    shutil.rmtree(folder / "transformer")
    return SANA.write_diffusers(folder)


def shards(site, component):
    return [entry["sha256"] for entry in site.manifest["shards"] if entry["component"] == component]


@pytest.mark.parametrize("layout", ["codes2b", "native", "unpacked"])
def test_the_file_and_its_base_are_the_whole_folder(build, base, tmp_path, layout):
    assert build("--model", base, "--out", tmp_path / "whole").status == 0
    whole = PackedSite(tmp_path / "whole")
    model = tmp_path / "mine" / "mine.safetensors"
    if layout == "codes2b":
        SANA.write_codes2b(model)
    elif layout == "native":
        SANA.write_native(model)
    else:
        model = SANA.write_diffusers(tmp_path / "mine")
    result = build("--model", model, "--base", base, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    site = PackedSite(tmp_path / "site")
    assert site.manifest["source"]["layout"] == layout and site.manifest["name"] == "mine"
    for component in ("transformer", "text_encoder", "autoencoder"):
        assert shards(site, component) == shards(whole, component), component
    assert site.manifest["pipeline"] == whole.manifest["pipeline"]
    assert site.manifest["sampler"] == whole.manifest["sampler"]
    assert site.manifest["schedules"] == whole.manifest["schedules"]
    assert "sana, ternary" in result.stdout
