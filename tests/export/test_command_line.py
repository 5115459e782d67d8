"""Options, places to write to, and the exit status of build.py."""

import pytest


@pytest.mark.parametrize("target", ["a file", "a foreign folder", "below a file", "/proc/trefoil"])
def test_places_that_cannot_be_written(build, mlx, tmp_path, target):
    (tmp_path / "a file").write_text("x")
    (tmp_path / "a foreign folder").mkdir()
    (tmp_path / "a foreign folder" / "diary.txt").write_text("x")
    out = {"below a file": tmp_path / "a file" / "x"}.get(target, tmp_path / target)
    result = build("--model", mlx, "--out", out)
    assert result.status == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    assert (tmp_path / "a file").read_text() == "x"
    assert (tmp_path / "a foreign folder" / "diary.txt").read_text() == "x"


def test_places_that_can(build, mlx, tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "deeper", tmp_path / "empty"):
        result = build("--model", mlx, "--out", out)
        assert result.status == 0, result.stderr
        assert (out / "index.html").exists()


@pytest.mark.parametrize("arguments", [
    ["--nonsense"], ["--onnx-only", "--serve"], ["--text-encoder-bits", "5"], ["--shard-mib", "0"],
    ["--shard-mib", "30", "--host", "cloudflare-pages"], ["--host", "geocities"],
    ["--weights-url", "ftp://x"], ["--serve", "70000"], ["--dry-run", "--serve"],
])
def test_usage(build, arguments):
    result = build(*arguments)
    assert result.status == 2 and "build.py: error: " in result.stderr


def test_help_tells_the_options(build):
    result = build("--help")
    assert result.status == 0
    for option in ("--model", "--out", "--dry-run", "--text-encoder-bits", "--shard-mib", "--host",
                   "--weights-url", "--publish", "--weights-repo", "--private", "--serve", "--onnx",
                   "--onnx-only"):
        assert option in result.stdout
