"""Starts several builds into one folder, and tells what came out.

    python -m tests.two_builds [--times 8] [--model tiny | DIR] [--latest 2] [--seed 0]

Pairs and triples of `python build.py`, each started up to --latest seconds after the one before:
of one model, of two, with --weights-url and, where --onnx asks for it, with --onnx-only. A race is
whole when every build ended with 0 and the folders then are, byte for byte, what one of the builds
writes alone, every shard with its hash, and nothing unfinished lies beside them.
"""

import argparse
import collections
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.export.packed import PackedSite
from tests.export.tiny import Tiny

ROOT = Path(__file__).resolve().parent.parent
GARDEN = ROOT / "models" / "garden-ternary"
ELSEWHERE = ["--weights-url", "https://weights.example/a"]


def contents(folder):
    """{path: bytes} of the files below a folder."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def start(out, arguments):
    """A build as a process of its own."""
    command = [sys.executable, "build.py", "--out", str(out), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def race(out, runs, delays):
    """[(status, stdout, stderr)] of builds with these arguments, each `delay` after the last."""
    processes = []
    for arguments, delay in zip(runs, delays, strict=True):
        time.sleep(delay)
        processes.append(start(out, arguments))
    streams = [process.communicate() for process in processes]
    return [(p.returncode, *told) for p, told in zip(processes, streams, strict=True)]


def judge(out, runs, results, wanted):
    """What is wrong after a race, in words; "" where nothing is.

    wanted: what each run leaves when it runs alone, {folder's name: contents}.
    """
    for status, stdout, stderr in results:
        if status or "Traceback" in stderr or not ("written in" in stdout or "already" in stdout):
            return f"status {status}: {stderr.strip().splitlines()[-1:]}"
    got = {folder.name: contents(folder) for folder in out.parent.iterdir() if folder.is_dir()}
    owners = [w for w in wanted if all(got.get(name) == files for name, files in w.items())]
    if not owners:
        return "no build's whole site"
    for folder in owners[0]:
        if any(name.endswith("manifest.json") for name in owners[0][folder]):
            check_shards(out.with_name(folder))
    hidden = {path.name for path in out.parent.iterdir() if path.name.startswith(".")}
    left = {name for name in hidden if not name.endswith(".built")}
    return f"left behind: {sorted(left)}" if left else ""


def check_shards(folder):
    with contextlib.suppress(FileNotFoundError):  # a site that does not carry its weights
        PackedSite(folder).check_shards()


def alone(arguments):
    """What a run leaves when it is the only one."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "site"
        ((status, _, stderr),) = race(out, [arguments], [0])
        assert status == 0, stderr
        return {folder.name: contents(folder) for folder in Path(place).iterdir()
                if folder.is_dir()}


def cases(one, other, onnx):
    """name -> the arguments of each build."""
    first, second = ["--model", one], ["--model", other]
    table = {
        "two of one model": [first, first],
        "two models": [first, second],
        "three, two models": [first, second, first],
        "with and without weights": [first, [*first, *ELSEWHERE]],
        "two models, weights elsewhere": [[*first, *ELSEWHERE], [*second, *ELSEWHERE]],
    }
    if onnx:
        table["a site and --onnx-only"] = [first, [*first, "--onnx-only"]]
        table["two --onnx-only"] = [[*first, "--onnx-only"], [*second, "--onnx-only"]]
    return table


def run_case(runs, times, latest, random):
    """Counter of what came out, and how many builds waited or found their site there."""
    told, waited, found = collections.Counter(), 0, 0
    wanted = [alone(arguments) for arguments in runs]
    for _ in range(times):
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "site"
            delays = [0, *(random.uniform(0, latest) for _ in runs[1:])]
            results = race(out, runs, delays)
            told[judge(out, runs, results, wanted) or "whole"] += 1
            waited += sum("waiting for it to end" in stderr for _, _, stderr in results)
            found += sum("already" in stdout for _, stdout, _ in results)
    return told, waited, found


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.two_builds", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--model", default="tiny", help="tiny, or a folder (default: tiny)")
    parser.add_argument("--latest", type=float, default=2, metavar="SECONDS")
    parser.add_argument("--onnx", action="store_true", help="also --onnx-only")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        one = Path(options.model)
        if options.model == "tiny":
            one = Tiny("ternary").write(Path(place) / "one", "mlx")
        other = Tiny("binary").write(Path(place) / "other", "mlx")
        source = random.Random(options.seed)
        print(f"{'builds':32} {'races':>5} {'whole':>5} {'waited':>6} {'already':>7}  else")
        for name, runs in cases(one, other, options.onnx).items():
            told, waited, found = run_case(runs, options.times, options.latest, source)
            rest = {what: count for what, count in told.items() if what != "whole"}
            print(f"{name:32} {options.times:5} {told['whole']:5} {waited:6} {found:7}  "
                  f"{rest or '-'}", flush=True)


if __name__ == "__main__":
    main()
