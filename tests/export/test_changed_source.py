"""A model whose files change while they are packed: noticed, and the earlier site stays."""

import shutil

import pytest

from export import build as building
from tests.two_builds import contents


def overwrite(path):
    data = bytearray(path.read_bytes())
    data[-40:] = bytes(40)
    with path.open("r+b") as file:
        file.write(data)


def replace(path):
    partial = path.with_name("partial")
    shutil.copyfile(path, partial)
    partial.replace(path)


def truncate(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4096)


def remove(path):
    path.unlink()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("change", [overwrite, replace, truncate, remove])
def test_weights_that_change_while_they_are_packed(
    build, mlx, tmp_path, monkeypatch, change, moment
):
    arguments = ["--model", mlx, "--out", tmp_path / "site"]
    assert build(*arguments).status == 0
    old, pack = contents(tmp_path / "site"), building.pack_model
    weights = max(mlx.rglob("*.safetensors"), key=lambda path: path.stat().st_size)

    def changing(*rest):
        if moment == "before":
            change(weights)
        tensors = pack(*rest)
        if moment == "after":
            change(weights)
        return tensors

    monkeypatch.setattr(building, "pack_model", changing)
    result = build(*arguments, "--shard-mib", 0.01)
    assert result.status == 1 and contents(tmp_path / "site") == old
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"build.py: {weights}: ") and "while the model was packed" in line
    assert ("removed" in line) == (change is remove)


def test_other_files_may_come_meanwhile(build, mlx, tmp_path, monkeypatch):
    pack = building.pack_model

    def noting(*rest):
        (mlx / "notes.txt").write_text("new")
        (mlx / ".cache").mkdir()
        return pack(*rest)

    monkeypatch.setattr(building, "pack_model", noting)
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
