"""A family that nothing but a test knows is built by the command line, once it is registered."""

import shutil
from dataclasses import replace

import pytest

from build import main
from export.families import FAMILIES
from export.families.recognise import family_of_names
from tests.export.packed import PackedSite
from tests.toy.checkpoint import TRANSFORMER, Toy
from tests.toy.family import TOY


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(FAMILIES, TOY.name, TOY)


def test_the_toy_is_built(registered, tmp_path, capsys):
    toy = Toy()
    assert main(["--model", str(toy.write(tmp_path / "m")), "--out", str(tmp_path / "site")]) == 0
    assert "m: toy, ternary, unpacked" in capsys.readouterr().out
    site = PackedSite(tmp_path / "site")
    site.check_shards()
    manifest = site.manifest
    assert manifest["family"] == "toy" and "schedules" not in manifest and "preview" not in manifest
    assert manifest["sampler"]["shift"] == "static"
    assert manifest["latents"]["channels"] == 16 and manifest["latents"]["pixels"] == 4
    assert manifest["pipeline"]["guidance"] == {"kind": "none", "scale": 1, "negative": False}
    assert manifest["components"]["transformer"]["class"] == "ToyTransformer2DModel"
    assert manifest["tensors"]["transformer.text_proj.weight"]["storage"] == "ternary"
    assert (site.weight("transformer.text_proj.weight") == toy.text_proj).all()
    assert (site.weight("transformer.proj.weight") == toy.proj).all()
    assert "text_encoder.layers.1.mlp.down_proj.weight" in manifest["tensors"]


def test_guidance_of_the_pipeline_and_of_the_call(registered, tmp_path):
    for call, scale in (({}, 3.0), ({"guidance_scale": 1.5}, 1.5)):
        folder = Toy().write(tmp_path / f"{scale}", guided=True, **call)
        assert main(["--model", str(folder), "--out", str(tmp_path / f"site{scale}")]) == 0
        guidance = PackedSite(tmp_path / f"site{scale}").manifest["pipeline"]["guidance"]
        assert guidance == {"kind": "cfg", "scale": scale, "negative": True}


def test_what_it_lacks_is_said(registered, tmp_path, capsys):
    folder = Toy().write(tmp_path / "m")
    for more in (["--out", str(tmp_path / "site")], ["--dry-run"]):
        assert main(["--model", str(folder), "--onnx", *more]) == 1
        assert "has no ONNX graph of ToyTransformer2DModel" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
    assert main(["--model", str(folder), "--out", str(tmp_path / "site"), "--dry-run"]) == 0
    assert "GPU memory" in capsys.readouterr().out


def test_a_family_without_reference_images_refuses_their_option(registered, tmp_path, capsys):
    folder = Toy().write(tmp_path / "m")
    options = ["--model", str(folder), "--out", str(tmp_path / "site"), "--with-image-input"]
    assert main(options) == 1
    assert "the family toy draw from no reference images" in capsys.readouterr().err


def test_a_family_that_is_not_registered(tmp_path, capsys):
    folder = Toy().write(tmp_path / "m")
    assert main(["--model", str(folder), "--out", str(tmp_path / "site")]) == 1
    said = capsys.readouterr().err
    assert "the pipeline is 'ToyPipeline', this version converts Flux2KleinPipeline" in said


def derive_config(path, tensors):
    channels, width = tensors.entries["text_proj.weight"].shape
    return {"in_channels": channels, "joint_attention_dim": width}


def test_a_file_that_stands_alone_is_known_by_its_names(monkeypatch, tmp_path):
    """Where no model_index.json tells the family, what the file holds does."""
    parts = [replace(part, derive_config=derive_config) if part is TOY.denoiser else part
             for part in TOY.parts]
    monkeypatch.setitem(FAMILIES, TOY.name, replace(TOY, parts=tuple(parts)))
    for names, family in ((["a.text_proj.weight"], "toy"), (["img_in.weight"], "flux2"),
                          (["x_embedder.weight", "y"], "flux2")):
        assert family_of_names(names).name == family
    assert family_of_names(["others.weight"]) is None
    toy = Toy()
    folder = toy.write(tmp_path / "m")
    (folder / TRANSFORMER).rename(folder / "toy.safetensors")
    shutil.rmtree(folder / "transformer")
    (folder / "model_index.json").unlink()
    assert main(["--model", str(folder), "--out", str(tmp_path / "site")]) == 0
    site = PackedSite(tmp_path / "site")
    assert site.manifest["family"] == "toy" and site.manifest["source"]["layout"] == "native"
    assert (site.weight("transformer.text_proj.weight") == toy.text_proj).all()
