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


def test_what_the_manifest_says_of_sana(build, base, tmp_path):
    assert build("--model", base, "--out", tmp_path / "site").status == 0
    manifest = PackedSite(tmp_path / "site").manifest
    assert manifest["family"] == "sana" and manifest["latents"]["pixels"] == 16
    assert manifest["latents"]["scale"] == 1 / 0.41407 and manifest["latents"]["shift"] == 0
    assert manifest["sampler"] == {
        "class": "DPMSolverMultistepScheduler", "shift": "static",
        "config": {"num_train_timesteps": 1000, "flow_shift": 3.0, "solver_order": 2}}
    call = manifest["pipeline"]
    assert call["guidance"] == {"kind": "cfg", "scale": 4.5, "negative": True}
    assert call["negative_prompt"] == "" and call["complex_human_instruction"] is None
    assert (call["width"], call["height"], call["num_inference_steps"]) == (64, 64, 4)
    assert "image_input" not in call


@pytest.mark.parametrize("option, told", [
    ("--onnx", "--onnx: this version has no ONNX graph of Gemma2"),
    ("--with-image-input", "the family sana draw from no reference images"),
])
def test_options_that_the_family_has_no_use_for(option, told, build, base, tmp_path):
    result = build("--model", base, "--out", tmp_path / "site", option)
    assert result.status == 1 and told in result.stderr
    assert not (tmp_path / "site").exists()
