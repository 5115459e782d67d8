"""What it costs that kept shards are hashed at each load: seconds with and without, in one run.

    python -m tests.verify_cost [--gb 2.7] [--shard-mib 64] [--rounds 3]

The studio with Garden and shards of random bytes beside it, 2.7 GB as the published models have, in
a real profile on disk. Each round opens the page twice in a new browser, the second time with a
loader that takes every file's word for it. Prints the seconds from opening to "Ready" and the
processors' seconds of all of the browser's processes.
"""

import argparse
import os
import random
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from tests.browser import flaky
from tests.resume import append_shards, build, model_bytes, visit

HASHING = """\
    const bytes = await keeper.contents(file, (count) => room.of(count));
    noteVerdict(home, file, await sha256(bytes) === expected);
"""
TRUSTING = "noteVerdict(home, file, true);"


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.verify_cost", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.7)
    parser.add_argument("--shard-mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        dist, profile = Path(folder) / "dist", Path(folder) / "profile"
        build(dist, options.shard_mib)
        append_shards(dist / "model", int(options.gb * 1e9), random.Random(0),
                      options.shard_mib << 20)
        flaky.PIECE = options.shard_mib << 20
        with flaky.FlakyServer(dist) as host:
            timed(playwright, profile, host)  # downloads
            print(f"{model_bytes(dist / 'model'):,} bytes kept")
            host.forget()
            compare(playwright, profile, host, dist, options.rounds)
            assert not host.shards(), "what is kept was fetched again"


def compare(playwright, profile, host, dist, rounds):
    verifier = next(dist.rglob("loader/verified.js"))
    hashing = verifier.read_text(encoding="utf-8")
    assert HASHING in hashing
    taken = {"hashed": [], "trusted": []}
    for number in range(rounds):
        for name, script in (("hashed", hashing), ("trusted", hashing.replace(HASHING, TRUSTING))):
            verifier.write_text(script, encoding="utf-8")
            taken[name].append(timed(playwright, profile, host))
            wall, busy = taken[name][-1]
            print(f"round {number + 1}, {name:8} {wall:6.2f} s, processors {busy:6.2f} s",
                  flush=True)
    for index, kind in enumerate(("seconds", "processors' seconds")):
        with_it, without = (statistics.median(one[index] for one in taken[name])
                            for name in ("hashed", "trusted"))
        print(f"median {kind}: {with_it:.2f} hashed, {without:.2f} trusted: "
              f"{with_it - without:+.2f}, ratio {with_it / without:.2f}")


def timed(playwright, profile, host):
    """(seconds from opening the page to "Ready", processors' seconds of the browser meanwhile)"""
    (began, busy), (ready, busier) = visit(
        playwright, profile, host, lambda: (time.monotonic(), busy_seconds(profile)))
    return ready - began, busier - busy


def busy_seconds(profile):
    """Of all processes that descend from the browser on this profile."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(path.parent.name), path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        stats[pid] = (int(rest[1]), int(rest[11]) + int(rest[12]), str(profile).encode() in command)
    ours = {pid for pid, (_, _, named) in stats.items() if named}
    while more := {pid for pid, (parent, _, _) in stats.items() if parent in ours} - ours:
        ours |= more
    return sum(stats[pid][1] for pid in ours) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
