"""What --model may name: folders, files, repositories, their addresses and their cached copies."""

import json
import os

import pytest

from export.errors import ExportError
from export.finding import find_model
from export.source.addresses import Address, read_address
from tests.export.hub import COMMIT
from tests.export.packed import PackedSite
from tests.export.test_site import front_matter
from tests.export.tiny import Tiny, save


@pytest.mark.parametrize("model", ["/nowhere", "nowhere", "a/b/c", "a/b@", "a b/c", "./nowhere",
                                   "../a", "https://example.com/a/b", "a/.."])
def test_what_is_no_repository_name(build, tmp_path, model):
    result = build("--model", model, "--out", tmp_path / "site")
    says = f"build.py: --model {model}: no such folder, and not a repository name"
    assert result.status == 1 and result.stderr.startswith(says)


@pytest.mark.parametrize(("text", "address"), [
    ("org/name", ("org/name",)),
    ("org/name@v1.0", ("org/name", "v1.0")),
    ("org/name@refs/pr/3", ("org/name", "refs/pr/3")),
    ("https://huggingface.co/org/name", ("org/name",)),
    ("https://huggingface.co/org/name/", ("org/name",)),
    (" https://huggingface.co/org/name?library=diffusers#x ", ("org/name",)),
    ("http://www.huggingface.co/org/name", ("org/name",)),
    ("https://hf.co/org/name.git", ("org/name",)),
    ("huggingface.co/org/name/tree/main", ("org/name", "main")),
    ("https://huggingface.co/org/name/tree/v1/vae", ("org/name", "v1")),
    ("https://huggingface.co/org/name/tree/refs%2Fpr%2F3", ("org/name", "refs/pr/3")),
    ("https://huggingface.co/org/name/tree/refs/pr/3", ("org/name", "refs/pr/3")),
    ("https://huggingface.co/org/name/blob/main/README.md", ("org/name", "main")),
    ("https://huggingface.co/org/name/resolve/v1/a-Q2_0.gguf?download=true",
     ("org/name", "v1", "a-Q2_0.gguf")),
    ("https://huggingface.co/org/name/blob/main/transformer/a%20b.safetensors",
     ("org/name", "main", "transformer/a b.safetensors")),
    ("https://huggingface.co/org/name/discussions/2", ("org/name",)),
    ("hf://org/name@v1", ("org/name", "v1")),
])
def test_addresses(text, address):
    assert read_address(text) == Address(*address)


@pytest.mark.parametrize(("text", "says"), [
    ("https://huggingface.co/spaces/org/name", "is one of the hub's spaces, expected a model"),
    ("https://huggingface.co/datasets/org/name", "is one of the hub's datasets"),
    ("https://huggingface.co/org", "expected an address like https://huggingface.co/ORG/NAME"),
])
def test_addresses_of_something_else(text, says):
    with pytest.raises(ExportError, match=says):
        read_address(text)


def cache(mlx, tmp_path, revision=COMMIT):
    """The tiny model as the hub's cache keeps it: links to blobs."""
    home = tmp_path / "hub" / "models--org--some-name"
    for path in sorted(path for path in mlx.rglob("*") if path.is_file()):
        link = home / "snapshots" / revision / path.relative_to(mlx)
        blob = home / "blobs" / f"{len(list(home.glob('blobs/*')))}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        link.symlink_to(os.path.relpath(blob, link.parent))
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / "main").write_text(revision)
    return home


@pytest.mark.parametrize("place", ["", "snapshots", f"snapshots/{COMMIT}"])
def test_the_cache_s_folders_are_the_repository_at_that_commit(build, mlx, tmp_path, place):
    (mlx / "README.md").write_text("---\nlicense: other\nlicense_link: LICENSE.md\n---\n")
    home = cache(mlx, tmp_path)
    other = home / "snapshots" / ("f" * 40)
    other.mkdir()
    result = build("--model", home / place, "--out", tmp_path / "site", "--weights-url",
                   "https://w.example")
    assert result.status == 0, result.stderr
    manifest = PackedSite(tmp_path / "site-weights").manifest
    assert manifest["name"] == "some-name"
    assert manifest["source"]["repository"] == "org/some-name"
    assert manifest["source"]["revision"] == COMMIT
    told = front_matter(tmp_path / "site")
    assert told["title"] == "Some Name in your browser" and told["models"] == ["org/some-name"]
    card = front_matter(tmp_path / "site-weights")
    assert card["base_model"] == "org/some-name"
    assert card["license_link"] == (
        f"https://huggingface.co/org/some-name/blob/{COMMIT}/LICENSE.md")


def test_a_link_into_the_cache_and_a_model_inside_a_snapshot(mlx, tmp_path):
    snapshot = cache(mlx, tmp_path) / "snapshots" / COMMIT
    (tmp_path / "link").symlink_to(snapshot)
    for path, name in ((tmp_path / "link", "some-name"), (snapshot / "vae", "vae")):
        source = find_model(str(path))
        assert source.name == name and source.folder == path
        assert source.origin == {"repository": "org/some-name", "revision": COMMIT}
    plain = find_model(str(mlx))
    assert (plain.name, plain.origin, plain.folder) == ("tiny", {}, mlx)


def test_a_cache_without_a_main_revision(mlx, tmp_path):
    home = cache(mlx, tmp_path, revision="b" * 40)
    (home / "refs" / "main").unlink()
    assert find_model(str(home)).origin["revision"] == "b" * 40
    (home / "snapshots" / ("c" * 40)).mkdir()
    with pytest.raises(ExportError, match="refs/main names none of them; name the folder of"):
        find_model(str(home))


def test_a_link_whose_blob_is_gone(build, mlx, tmp_path):
    home = cache(mlx, tmp_path)
    link = home / "snapshots" / COMMIT / "vae" / "diffusion_pytorch_model.safetensors"
    link.resolve().unlink()
    result = build("--model", home, "--out", tmp_path / "site")
    assert result.status == 1 and f"{link}: is a link to ../../../blobs/" in result.stderr
    assert "which is not there; download the file again" in result.stderr


def test_a_file_is_its_folder_s_transformer(build, tmp_path):
    folder = Tiny().write(tmp_path / "tiny", "unpacked")
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    native = folder / "my-native.safetensors"
    native.write_bytes(file.read_bytes())
    for path, layout, name in ((file, "unpacked", "tiny"), (native, "native", "my-native")):
        result = build("--model", path, "--out", tmp_path / "site")
        assert result.status == 0, result.stderr
        manifest = PackedSite(tmp_path / "site").manifest
        assert (manifest["source"]["layout"], manifest["name"]) == (layout, name)


def test_files_that_are_no_model(build, mlx, tmp_path):
    result = build("--model", mlx / "model_index.json", "--out", tmp_path / "site")
    assert result.status == 1 and "is a file, expected a model's folder" in result.stderr
    (tmp_path / "gone.gguf").symlink_to("nowhere")
    result = build("--model", tmp_path / "gone.gguf", "--out", tmp_path / "site")
    assert result.status == 1 and "is a link to nowhere, which is not there" in result.stderr


def test_names_that_are_not_utf_8(build, mlx, tmp_path):
    """The page has a mark for them; Japanese is itself."""
    odd = os.fsencode(mlx) + b"\xff"
    for name in (b"LICENSE-\xfe.txt", b"\xff.safetensors.txt", "LICENSE 日本.txt".encode()):
        with open(os.path.join(os.fsencode(mlx), name), "wb") as file:
            file.write(name)
    os.rename(os.fsencode(mlx), odd)
    source = find_model(os.fsdecode(odd))
    assert source.name == "tiny\ufffd"
    result = build("--model", os.fsdecode(odd), "--dry-run")
    assert result.status == 0, result.stderr


@pytest.mark.parametrize("link", ["vae", "transformer-packed-mflux", "tokenizer"])
def test_folders_that_are_links(build, mlx, tmp_path, link):
    (mlx / link).rename(tmp_path / "elsewhere")
    (mlx / link).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert build("--model", mlx, "--dry-run").status == 0


def test_a_pipeline_of_another_kind_is_named_before_its_files_are_missed(build, tmp_path):
    (tmp_path / "sd").mkdir()
    index = {"_class_name": "StableDiffusionPipeline"}
    (tmp_path / "sd" / "model_index.json").write_text(json.dumps(index))
    save(tmp_path / "sd" / "unet" / "diffusion_pytorch_model.safetensors", {})
    result = build("--model", tmp_path / "sd", "--out", tmp_path / "site")
    assert result.status == 1 and "the pipeline is 'StableDiffusionPipeline'" in result.stderr
