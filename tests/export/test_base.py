"""--base: parts that a model lacks come from another one, which a family may know by itself."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import export.finding
from export.families import FAMILIES
from export.families.family import Base
from export.site.cards import weights_readme
from export.source.find import Source, find
from export.source.front_matter import read_front_matter
from tests.export.packed import PackedSite
from tests.export.tiny import CALL, TRANSFORMER, Tiny, edit, load, save, write_json
from tests.toy.checkpoint import Toy
from tests.toy.family import TOY
from tests.toy.test_build import derive_config

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(tmp_path):
    """The folder of a denoiser alone, without a model_index.json."""
    whole = Tiny(seed=1).write(tmp_path / "whole", "unpacked")
    shutil.copytree(whole / "transformer", tmp_path / "model" / "transformer")
    (tmp_path / "model" / "LICENSE").write_text("the model's licence")
    return tmp_path / "model"


@pytest.fixture
def base(tmp_path):
    folder = Tiny(seed=2).write(tmp_path / "base", "unpacked")
    for name in ("LICENSE", "NOTICE"):
        (folder / name).write_text(f"the base's {name}")
    return folder


def shards(site, component):
    return [entry["sha256"] for entry in site.manifest["shards"] if entry["component"] == component]


def built(build, out, *arguments):
    result = build(*arguments, "--out", out)
    assert result.status == 0, result.stderr
    return PackedSite(out)


def test_the_base_has_what_the_model_lacks(build, model, base, tmp_path):
    site = built(build, tmp_path / "site", "--model", model, "--base", base)
    said = build("--model", model, "--base", base, "--dry-run").stdout
    assert said.startswith("model: flux2, ternary, unpacked, what it lacks from base\n")
    mine = built(build, tmp_path / "mine", "--model", tmp_path / "whole")
    theirs = built(build, tmp_path / "theirs", "--model", base)
    assert site.manifest["name"] == "model"
    for component, other in (("transformer", mine), ("text_encoder", theirs),
                             ("autoencoder", theirs)):
        assert shards(site, component) == shards(other, component), component
    assert shards(mine, "transformer") != shards(theirs, "transformer")
    assert shards(mine, "text_encoder") != shards(theirs, "text_encoder")
    assert site.manifest["pipeline"]["width"] == CALL["width"], "trefoil.json of the base"
    told = {path.name: path.read_text() for path in site.folder.iterdir() if path.suffix == ""}
    told |= {path.name: path.read_text() for path in site.folder.glob("LICENSE*")}
    assert told["LICENSE"] == "the model's licence" and told["NOTICE"] == "the base's NOTICE"
    assert told["LICENSE-base"] == "the base's LICENSE"


def test_the_licence_of_the_base_is_that_of_a_model_without_one(build, model, base, tmp_path):
    """The model's own card wins."""
    (base / "README.md").write_text(
        "---\nlicense: other\nlicense_name: flux-1-dev-non-commercial-license\n---\n")
    options = ("--model", model, "--base", base, "--weights-url", "https://w.example")
    assert build(*options, "--out", tmp_path / "site").status == 0
    card = read_front_matter(tmp_path / "site-weights" / "README.md")
    assert card["license_name"] == "flux-1-dev-non-commercial-license"
    assert card["license"] == read_front_matter(tmp_path / "site/README.md")["license"] == "other"
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert build(*options, "--out", tmp_path / "own").status == 0
    assert read_front_matter(tmp_path / "own" / "README.md")["license"] == "apache-2.0"
    assert "license_name" not in read_front_matter(tmp_path / "own-weights" / "README.md")


def test_what_the_model_has_is_its_own(build, model, base, tmp_path):
    """A text encoder, and a trefoil.json."""
    shutil.copytree(tmp_path / "whole" / "text_encoder", model / "text_encoder")
    write_json(model / "trefoil.json", CALL | {"num_inference_steps": 2})
    site = built(build, tmp_path / "site", "--model", model, "--base", base)
    mine = built(build, tmp_path / "mine", "--model", tmp_path / "whole")
    assert shards(site, "text_encoder") == shards(mine, "text_encoder")
    assert site.manifest["pipeline"]["num_inference_steps"] == 2


def test_a_base_that_is_not_needed_is_not_read(build, base, tmp_path):
    (tmp_path / "empty").mkdir()
    whole = built(build, tmp_path / "whole-site", "--model", base)
    site = built(build, tmp_path / "site", "--model", base, "--base", tmp_path / "empty")
    assert site.manifest == whole.manifest


def test_a_site_follows_from_its_base(build, model, base, tmp_path):
    arguments = ("--model", model, "--base", base)
    first = built(build, tmp_path / "site", *arguments)
    assert "is this model already" in build(*arguments, "--out", tmp_path / "site").stdout
    edit(base / "vae" / "diffusion_pytorch_model.safetensors",
         lambda t: t.update({"decoder.conv_in.bias": Tiny(seed=9).floats(12)}))
    assert shards(built(build, tmp_path / "site", *arguments), "autoencoder") != (
        shards(first, "autoencoder"))


def test_a_part_that_is_there_but_not_whole_is_not_passed_over(build, model, base, tmp_path):
    (model / "vae").mkdir()
    (model / "vae" / "notes.txt").write_text("x")
    result = build("--model", model, "--base", base, "--out", tmp_path / "site")
    assert result.status == 1 and f"{model}/vae/config.json: no such file" in result.stderr


def test_bases_that_are_none(build, model, base, tmp_path):
    shutil.rmtree(base / "vae")
    for name, says in ((base, f"{base}/vae/config.json: no such file, vae/ is not there"),
                       (tmp_path / "gone", "no such folder, and not a repository name"),
                       (base / WEIGHTS, "is one file, expected a whole model's folder or"),
                       ("", "--base: got no name at all")):
        result = build("--model", model, "--base", name, "--out", tmp_path / "site")
        assert result.status in (1, 2) and says in result.stderr, result.stderr
        assert not (tmp_path / "site").exists()
    result = build("--model", model, "--out", tmp_path / "site")
    assert "no text encoder, expected" in result.stderr
    assert result.stderr.endswith("what a model lacks may come from another one: --base\n")


def test_the_card_of_the_weights_names_both_repositories():
    base = Source(Path("b"), "b", {"repository": "org/b", "revision": "2"})
    for origin, names, told in (
            ({"repository": "me/m", "revision": "1"}, "[me/m, org/b]",
             "Made from `me/m`, commit `1` and `org/b`, commit `2`.\n"),
            ({}, "org/b", "Made from `org/b`, commit `2`.\n")):
        model = SimpleNamespace(source=Source(Path("m"), "m", origin, base=base), name="m",
                                family=TOY, variant="ternary")
        card = weights_readme(model, SimpleNamespace(weights_repo=None))
        assert f"\nbase_model: {names}\n" in card and told in card


# The base that a family knows


@pytest.fixture
def toys(monkeypatch, tmp_path):
    """(model, asked): a toy's denoiser alone; `asked` are the repositories that were looked for.

    The hub has org/base alone: a whole toy, with another denoiser.
    """
    family = replace(TOY, base=Base("org/base", "toy-made"), unread={
        r"toy.*-packed": "its layout is not published; take transformer/ beside it",
    }, parts=tuple(replace(part, derive_config=derive_config) if part is TOY.denoiser else part
                   for part in TOY.parts))
    monkeypatch.setitem(FAMILIES, TOY.name, family)
    Toy(seed=3).write(tmp_path / "hub")
    whole = Toy(seed=4).write(tmp_path / "whole")
    shutil.copytree(whole / "transformer", tmp_path / "model" / "transformer")
    asked = []

    def looked_for(name, option="--model"):
        if name != "org/base":
            return find(name, option)
        asked.append((name, option))
        return find(str(tmp_path / "hub"), option)

    monkeypatch.setattr(export.finding, "find", looked_for)
    return tmp_path / "model", asked


def test_a_family_s_own_base(build, toys, tmp_path):
    model, asked = toys
    result = build("--model", model, "--out", tmp_path / "site")
    assert result.status == 0 and asked == [("org/base", "--base")], result.stderr
    assert (f"{model} has no model_index.json, text_encoder, vae, tokenizer; from org/base, as of "
            "all models of its family (--base names another)") in result.stderr
    site = PackedSite(tmp_path / "site")
    assert (site.weight("transformer.text_proj.weight") == Toy(seed=4).text_proj).all()
    assert site.manifest["family"] == "toy"


def test_base_overrides_it(build, toys, tmp_path):
    model, asked = toys
    result = build("--model", model, "--base", tmp_path / "whole", "--out", tmp_path / "site")
    assert result.status == 0 and not asked, result.stderr


def test_a_model_that_says_it_is_whole_is_told_what_it_lacks(build, toys, tmp_path):
    """Unless its name says that it was made from the base."""
    model, asked = toys
    write_json(model / "model_index.json", {"_class_name": "ToyPipeline"})
    result = build("--model", model, "--out", tmp_path / "site")
    assert result.status == 1 and "no text encoder, expected" in result.stderr and not asked
    model = model.rename(model.with_name("my-toy-made-1b"))
    result = build("--model", model, "--out", tmp_path / "site")
    assert result.status == 0 and asked, result.stderr
    assert "has no text_encoder, vae, tokenizer; from org/base, which it was made from" in (
        result.stderr)


@pytest.mark.parametrize(("name", "columns"), [("toy", 128), ("toy-made", 64)])
def test_a_file_alone(build, toys, tmp_path, name, columns):
    """Its shapes tell its configuration, or that of the base that it was made from does."""
    model, asked = toys
    file = model / f"{name}.safetensors"
    save(file, load(model / WEIGHTS))
    shutil.rmtree(model / "transformer")
    path = tmp_path / "hub" / "transformer" / "config.json"
    write_json(path, json.loads(path.read_text()) | {"joint_attention_dim": columns})
    result = build("--model", file, "--out", tmp_path / "site")
    assert asked
    if columns == 128:
        assert result.status == 0 and PackedSite(tmp_path / "site").manifest["name"] == "toy"
    else:
        assert result.status == 1 and f"{path}: joint_attention_dim is 64" in result.stderr


def test_a_file_that_nobody_reads_is_told_by_its_name(build, toys, tmp_path):
    model, asked = toys
    save(model / "toy-1b-packed.safetensors", {"a.codes": ("U8", [[1]])})
    assert build("--model", model, "--out", tmp_path / "site").status == 0  # transformer/ is read
    asked.clear()
    for name in (model / "toy-1b-packed.safetensors", model):
        result = build("--model", name, "--out", tmp_path / "other")
        assert result.status == 1 and (
            f"{model}/toy-1b-packed.safetensors: its layout is not published; take transformer/ "
            "beside it") in result.stderr
        assert not asked
        shutil.rmtree(model / "transformer", ignore_errors=True)


def test_the_denoiser_s_class_tells_the_family(build, base, tmp_path):
    """Of a folder without a model_index.json; another class than the base's is refused."""
    (base / "model_index.json").unlink()
    write_json(base / "transformer" / "config.json", TRANSFORMER | {"_class_name": "Other"})
    result = build("--model", base, "--out", tmp_path / "site")
    assert result.status == 1 and "model_index.json: no such file" in result.stderr
