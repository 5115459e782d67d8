"""Consoles and signals: output that nobody takes, names that have no letters there, interrupts."""

import os
import signal
import subprocess
import sys

import pytest

from tests.export.conftest import ROOT
from tests.export.packed import PackedSite
from tests.two_builds import contents

RAW = b"\xff\xfe caf\xe9"  # no UTF-8


def run(*arguments, **options):
    """build.py as a process: its status, stdout and stderr as bytes."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT} | options
    return subprocess.run([sys.executable, "build.py", *arguments], **options)


@pytest.fixture
def rename(mlx):
    """rename(name): the model's folder under another name."""
    return lambda name: mlx.rename(mlx.with_name(name))


def test_a_name_that_is_not_utf_8(build, rename, tmp_path):
    model = rename(os.fsdecode(RAW))
    (model / os.fsdecode(b"LICENSE-" + RAW)).write_text("terms")
    (model / os.fsdecode(RAW + b".txt")).write_text("notes")
    (model / os.fsdecode(RAW)).mkdir()
    (model / os.fsdecode(RAW) / os.fsdecode(RAW)).write_text("x")
    result = build("--model", model, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    site = PackedSite(tmp_path / "site")
    site.check_shards()
    assert site.manifest["name"] == "\ufffd\ufffd caf\ufffd"
    assert (tmp_path / "site" / "model" / "LICENSE-\ufffd\ufffd caf\ufffd").read_text() == "terms"
    assert "nothing to do" in build("--model", model, "--out", tmp_path / "site").stdout
    assert build("--model", model, "--dry-run").status == 0


def test_a_place_that_is_not_utf_8(build, mlx, tmp_path):
    out = tmp_path / os.fsdecode(RAW)
    for arguments in ([], ["--weights-url", "https://w.example"]):
        assert build("--model", mlx, "--out", out, *arguments).status == 0
        assert "nothing to do" in build("--model", mlx, "--out", out, *arguments).stdout
    (out / os.fsdecode(RAW)).write_text("mine")
    assert build("--model", mlx, "--out", out).status == 0
    assert (out / os.fsdecode(RAW)).read_text() == "mine"


def test_an_error_about_a_name_that_is_not_utf_8(tmp_path):
    result = run("--model", tmp_path / os.fsdecode(RAW), "--out", tmp_path / "site")
    assert result.returncode == 1 and b"Traceback" not in result.stderr
    assert result.stderr.startswith(b"build.py: --model ") and result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("settings", [
    {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
], ids=["cp1252", "ascii", "C"])
def test_a_console_without_the_letters_of_a_name(rename, tmp_path, settings):
    model = rename("盆栽の木")
    out = tmp_path / "庭"
    result = run("--model", model, "--out", out, env=os.environ | settings)
    assert result.returncode == 0 and b"Traceback" not in result.stderr, result.stderr
    assert PackedSite(out).manifest["name"] == "盆栽の木"
    assert "盆栽の木" in (out / "index.html").read_text(encoding="utf-8")
    again = run("--model", model, "--out", out, env=os.environ | settings)
    assert again.returncode == 0 and b"nothing to do" in again.stdout
    missing = run("--model", tmp_path / "無い", "--out", out, env=os.environ | settings)
    assert missing.returncode == 1 and missing.stderr.count(b"\n") == 1


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_nobody_reads_the_output(mlx, tmp_path, stream):
    reading, writing = os.pipe()
    os.close(reading)
    streams = {name: writing for name in ("stdout", "stderr") if stream in (name, "both")}
    result = run("--model", mlx, "--out", tmp_path / "site", **streams)
    assert result.returncode == 0
    assert b"Traceback" not in (result.stderr or b"") and b"Broken" not in (result.stderr or b"")
    again = run("--model", mlx, "--out", tmp_path / "site")
    assert b"nothing to do" in again.stdout
    dry = run("--model", mlx, "--dry-run", **streams)
    helped = run("--help", **streams)
    os.close(writing)
    for result in (dry, helped):
        assert result.returncode == 0 and b"Traceback" not in (result.stderr or b"")
        assert b"Exception" not in (result.stderr or b"")


def test_the_output_s_disk_is_full(mlx, tmp_path):
    with open("/dev/full", "wb") as full:
        built = run("--model", mlx, "--out", tmp_path / "site", stdout=full)
        dry = run("--model", mlx, "--dry-run", stdout=full)
        quiet = run("--model", tmp_path / "nothing", "--out", tmp_path / "site", stderr=full)
    told = b"build.py: the standard output took no more (No space left on device)"
    assert built.returncode == 0 and built.stderr.splitlines()[-1].startswith(told)
    assert dry.returncode == 1 and dry.stderr.splitlines()[-1].startswith(told)
    assert quiet.returncode == 1
    assert b"nothing to do" in run("--model", mlx, "--out", tmp_path / "site").stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(mlx, tmp_path, closed):
    command = f'exec "$0" build.py --model "$1" --out "$2" {closed}'
    words = ["bash", "-c", command, sys.executable, str(mlx), str(tmp_path / "site")]
    result = subprocess.run(words, cwd=ROOT, capture_output=True)
    assert result.returncode == 0 and not (result.stdout if ">&- " in closed else b"")
    PackedSite(tmp_path / "site").check_shards()


# Sends itself a signal when a line of the code is reached: what a person's finger does at random.
AT = """
import os, runpy, signal, sys
import build as loaded
from export import build
from export.folder import filling, fingerprint, record, staging
import export.source.find

def strike(owner, name, after):
    was = getattr(owner, name)
    def struck(*arguments, **options):
        if not after:
            os.kill(os.getpid(), NUMBER)
        result = was(*arguments, **options)
        if after:
            os.kill(os.getpid(), NUMBER)
        return result
    setattr(owner, name, struck)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and one under nohup this
NUMBER, place, name, after = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "after"
strike({"build": build, "staging": staging, "record": record}[place], name, after)
sys.exit(loaded.main(sys.argv[5:]))
"""
MOMENTS = [
    ("build", "find_model", "before"), ("build", "look_at", "after"),
    ("build", "pack_model", "after"), ("record", "announce", "before"),
    ("record", "announce", "after"), ("record", "describe", "after"),
    ("build", "print_summary", "before"),
]
CASES = [(signal.SIGINT, place) for place in MOMENTS]
CASES += [(number, place) for number in (signal.SIGTERM, signal.SIGHUP) for place in MOMENTS[2:4]]


def struck(number, place, *arguments):
    command = [sys.executable, "-c", AT, str(int(number)), *place, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(("number", "place"), CASES)
def test_a_signal_leaves_one_whole_site(build, mlx, tmp_path, number, place):
    """The old one with the status 1, or, where it comes while that is replaced, the new one."""
    out = tmp_path / "site"
    assert build("--model", mlx, "--out", out).status == 0
    old = contents(out)
    assert build("--model", mlx, "--out", tmp_path / "new", "--shard-mib", 0.01).status == 0
    new = contents(tmp_path / "new")
    arguments = ("--model", mlx, "--out", out, "--shard-mib", 0.01)
    result = struck(number, place, *arguments)
    assert "Traceback" not in result.stderr and result.returncode == 1
    written = place[1] in ("announce", "describe", "print_summary")
    outcome = f"{out} is written" if written else f"{out} is as it was"
    assert result.stderr.splitlines()[-1] == f"build.py: interrupted; {outcome}"
    assert contents(out) == (new if written else old)
    assert {path.name for path in tmp_path.glob(".*")} == {".site.built", ".new.built"}
    assert ("nothing to do" in build(*arguments).stdout) == written


def test_signals_that_were_ignored_stay_so(mlx, tmp_path):
    """As under nohup."""
    code = AT.replace("signal.SIG_DFL", "signal.SIG_IGN")
    assert code != AT
    command = [sys.executable, "-c", code, str(int(signal.SIGHUP)), "build", "pack_model", "after"]
    result = subprocess.run([*command, "--model", mlx, "--out", tmp_path / "site"], cwd=ROOT,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# build.py as a script, with a signal the moment that it begins to import a module.
IMPORTING = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
wanted, sys.argv = sys.argv[1], ["build.py", *sys.argv[2:]]

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.path.insert(0, os.getcwd())
sys.meta_path.insert(0, Finder())
runpy.run_path("build.py", run_name="__main__")
"""


@pytest.mark.parametrize("module", [
    "argparse", "export", "export.environment", "tomllib", "numpy", "numpy._core", "jinja2",
    "export.build", "export.folder.staging", "tqdm",
])
def test_an_interrupt_while_modules_are_imported(mlx, tmp_path, module):
    arguments = [module, "--model", mlx, "--out", tmp_path / "site"]
    result = subprocess.run([sys.executable, "-c", IMPORTING, *arguments], cwd=ROOT,
                            capture_output=True, text=True)
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and len(lines) == 1, result.stderr
    assert lines[0].startswith("build.py: interrupted; ")
    assert not (tmp_path / "site").exists()


def test_half_a_character_is_no_prompt(build, mlx, tmp_path):
    arguments = ["--model", mlx, "--out", tmp_path / "site"]
    path = mlx / "trefoil.json"
    call = path.read_text(encoding="utf-8")
    path.write_text(call.replace("a pine", r"a pine \ud83c"), encoding="utf-8")
    result = build(*arguments)
    assert result.status == 1 and result.stderr.startswith(f"build.py: {path}: half a character")
    path.write_text(call.replace("a pine", r"a pine \ud83c\udf32"), encoding="utf-8")
    assert build(*arguments).status == 0
    assert "a pine 🌲" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_a_card_that_is_not_utf_8(build, mlx, tmp_path):
    (mlx / "README.md").write_bytes(b"---\nlicense: other\nauthor: " + RAW + b"\n---\n")
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
