"""What lies in a file's place after a download that was none: each is named, with what to do."""

import os

import pytest

from export.errors import ExportError
from export.source.standins import refuse_standin

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1425\n"
HTML = "is an HTML page, saved in place of the file; download the file itself"
PLACES = [
    "model_index.json", "trefoil.json", "tokenizer/tokenizer.json", "vae/config.json",
    "tokenizer/tokenizer_config.json", "transformer-packed-mflux/config.json",
    "transformer-packed-mflux/diffusion_pytorch_model.safetensors",
    "text_encoder-mlx-4bit/model.safetensors", "text_encoder-mlx-4bit/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]
STANDINS = {
    "git-lfs": (LFS, "is a git-lfs pointer, not the file: run `git lfs pull` in that folder"),
    "HTML": (b"<!doctype html>\n<html><body>404</body></html>", HTML),
    "empty": (b"", "is empty; download the file again"),
}
BEGINNINGS = {
    "old git-lfs": (b"version https://hawser.github.com/spec/v1\n", "git-lfs pointer"),
    "git-lfs with a mark": (b"\xef\xbb\xbf" + LFS, "git-lfs pointer"),
    "git-annex": (b"/annex/objects/SHA256E-s1--0.gguf\n", "run `git annex get .`"),
    "upper case": (b"\n  <HTML lang='en'>", HTML),
    "XHTML": (b"<?xml version='1.0'?><!DOCTYPE html><html>", HTML),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            r"a server's error message in XML \(AccessDenied\), not the file; download it again"),
    "zeros": (bytes(4096), "zeros alone: a download that was not finished"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", STANDINS)
def test_in_place_of_any_file_that_is_read(build, mlx, tmp_path, case, place):
    content, says = STANDINS[case]
    (mlx / place).write_bytes(content)
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1 and not (tmp_path / "site").exists()
    assert result.stderr.startswith(f"build.py: {mlx / place}: {says}"), result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "config.json"])
@pytest.mark.parametrize("case", BEGINNINGS)
def test_beginnings(tmp_path, case, name):
    content, says = BEGINNINGS[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=says):
        refuse_standin(tmp_path / name)


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "state_dict.pt"])
def test_a_server_s_answer_in_place_of_weights(tmp_path, name):
    (tmp_path / name).write_text("Entry not\nfound")
    with pytest.raises(ExportError, match='is text \\("Entry not found"\\), expected a'):
        refuse_standin(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_in_another_encoding(build, mlx, tmp_path, encoding):
    path = mlx / "vae" / "config.json"
    path.write_bytes(path.read_text().encode(encoding))
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1
    assert f"{path}: is text in UTF-16 or UTF-32, expected UTF-8" in result.stderr


def test_byte_order_marks_in_every_json(build, mlx, tmp_path):
    for path in mlx.rglob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b",", b",\r\n"))
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr


def test_what_nobody_reads_may_be_anything(build, mlx):
    for name in ("vae/config.txt", "tokenizer/vocab.json", "transformer/x.safetensors", "LICENSE",
                 "vae/diffusion_pytorch_model.fp16.safetensors"):
        (mlx / name).parent.mkdir(exist_ok=True)
        (mlx / name).write_bytes(LFS)
    assert build("--model", mlx, "--dry-run").status == 0


def test_devices_and_folders(build, mlx, tmp_path):
    """A pipe would be waited for for ever."""
    path = mlx / "vae" / "config.json"
    path.unlink()
    os.mkfifo(path)
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1 and f"{path}: is a folder or a device" in result.stderr


@pytest.mark.parametrize("content", [b"{}", b"[1]\n", b'{"x": "<html>"}', b"\xef\xbb\xbf{}"])
def test_good_files_pass(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    refuse_standin(tmp_path / "config.json")
    refuse_standin(tmp_path / "absent.json")
    (tmp_path / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    refuse_standin(tmp_path / "model.safetensors")
