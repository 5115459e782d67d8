"""Several builds into one folder at once: they wait, and leave the whole site of one of them."""

import fcntl
import random

import pytest

from export import lock
from tests.export.tiny import Tiny
from tests.two_builds import ELSEWHERE, alone, contents, judge, race, start


@pytest.fixture
def models(tmp_path):
    return [Tiny(variant).write(tmp_path / variant, "mlx") for variant in ("ternary", "binary")]


@pytest.mark.parametrize(("kind", "seed"), [
    ("one model", 0), ("two models", 1), ("with weights beside", 2), ("three", 3),
])
def test_builds_at_once_leave_the_site_of_one(models, tmp_path, kind, seed):
    first, second = (["--model", model] for model in models)
    runs = {"one model": [first, first], "two models": [first, second],
            "with weights beside": [first, [*second, *ELSEWHERE]],
            "three": [first, second, first]}[kind]
    (tmp_path / "place").mkdir()
    out = tmp_path / "place" / "site"
    delays = [0, *(random.Random(seed).uniform(0, 1) for _ in runs[1:])]
    results = race(out, runs, delays)
    assert judge(out, runs, results, [alone(arguments) for arguments in runs]) == ""


def test_a_build_waits_for_another_and_says_for_whom(models, tmp_path):
    out = tmp_path / "site"
    with lock.hold([tmp_path / ".site.lock"], print):
        process = start(out, ["--model", models[0]])
        line = process.stderr.readline()
        assert line.startswith(f"trefoil: {out}: another build (process ")
        assert line.endswith("is writing there; waiting for it to end\n")
        assert not out.exists() and process.poll() is None
    stdout, stderr = process.communicate()
    assert process.returncode == 0 and "written in" in stdout, stderr
    assert [path.name for path in tmp_path.glob(".*")] == [".site.built"]


def test_a_build_that_waited_finds_its_site_there(models, tmp_path):
    out = tmp_path / "site"
    with lock.hold([tmp_path / ".site.lock"], print):
        processes = [start(out, ["--model", models[0]]) for _ in range(2)]
        for process in processes:
            assert "waiting" in process.stderr.readline()
    told = sorted(process.communicate()[0].split()[-1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert told == ["again)", "source"]  # "delete it to build it again", "MB/s of the source"


def test_the_lock_of_a_killed_run_holds_nobody(build, models, tmp_path):
    assert build("--model", models[1], "--out", tmp_path / "site").status == 0
    (tmp_path / ".site.lock").write_text("process 1 on nowhere")
    for name in (".site.partial", ".site.partial-0123abcd", ".site.previous-89abcdef"):
        (tmp_path / name / "model").mkdir(parents=True)
    (tmp_path / ".site.partial-of another folder").mkdir()
    result = build("--model", models[0], "--out", tmp_path / "site")
    assert result.status == 0 and "waiting" not in result.stderr
    left = {path.name for path in tmp_path.glob(".*")}
    assert left == {".site.built", ".site.partial-of another folder"}


def test_a_drive_without_locks_takes_those_of_this_machine(build, models, tmp_path, monkeypatch):
    """No file system here lacks them, so the system's refusal is the one thing made up."""
    flock, tried = fcntl.flock, []

    def refuse(file, how):
        tried.append(file.name)
        if len(tried) == 1:
            raise OSError(lock.NO_LOCKS[0], "No locks available")
        return flock(file, how)

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".site.partial-0123abcd").mkdir()  # perhaps another machine's, at work
    result = build("--model", models[0], "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    assert len(tried) == 2
    left = {path.name for path in tmp_path.glob(".*")}
    assert left == {".site.built", ".site.partial-0123abcd"}


def test_locks_are_taken_in_one_order(tmp_path):
    told = []
    with lock.hold([tmp_path / "b", tmp_path / "a"], told.append) as everywhere:
        assert everywhere and (tmp_path / "a").read_text().startswith("process ")
    assert not told and not contents(tmp_path)


@pytest.mark.parametrize("harm", ["missing", "shorter"])
def test_a_site_that_lost_a_shard_while_it_was_written_is_not_put_in_place(
    build, models, tmp_path, monkeypatch, harm
):
    from export.site import pages

    out = tmp_path / "site"
    assert build("--model", models[0], "--out", out).status == 0
    old, write = contents(out), pages.write_site

    def harmed(folder, *rest):
        write(folder, *rest)
        shard = next((folder / "model").glob("*.bin"))
        if harm == "missing":
            shard.unlink()
        else:
            shard.write_bytes(shard.read_bytes()[:-1])

    with monkeypatch.context() as patch:
        patch.setattr(pages, "write_site", harmed)
        result = build("--model", models[1], "--out", out)
    assert result.status == 1 and ".bin: " in result.stderr and "expected" in result.stderr
    assert contents(out) == old
    assert build("--model", models[1], "--out", out).status == 0
