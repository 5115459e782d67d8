"""Kills the browser at random moments of the download, and counts the bytes that are fetched twice.

    python -m tests.resume [--kills 20] [--shard-mib 1] [--extra-mib 0] [--mb-a-second 1] [--seed 0]

The studio with Garden, on a throttled server on this machine, in a profile on disk. Each time the
browser's processes get SIGKILL and a new one opens the page again; the last one is let finish, its
page's resident memory sampled, and another visit must find all there. --extra-mib appends shards of
random bytes to the manifest, 64 MiB each, for the sizes of a large model.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import expect, sync_playwright

from tests.browser.flaky import FlakyServer
from tests.conftest import WEBGPU, command, launch_profile
from tests.fullscale.residents import Residents

ROOT = Path(__file__).resolve().parent.parent
GARDEN = ROOT / "models" / "garden-ternary"
MIB = 1 << 20
EXTRA_BYTES = 64 * MIB
FILES = Path("Default") / "File System"  # where Chromium's profile has OPFS
PATIENCE = 300  # seconds
READY_MS = 600_000  # of a model of gigabytes
SETTLE = 5


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.resume", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shard-mib", type=float, default=1)
    parser.add_argument("--extra-mib", type=int, default=0)
    parser.add_argument("--mb-a-second", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        dist, profile = Path(folder) / "dist", Path(folder) / "profile"
        build(dist, options.shard_mib)
        append_shards(dist / "model", options.extra_mib * MIB, random.Random(options.seed))
        size = model_bytes(dist / "model")
        with FlakyServer(dist, rate=options.mb_a_second * 1e6) as host:
            print(f"model of {size:,} bytes in {len(list((dist / 'model').glob('*.bin')))} files")
            kill(host, profile, size, options.kills, random.Random(options.seed))
            complete(host, profile, size)
            check(host, profile)
            report(host, size, options.kills)


def build(dist, shard_mib):
    subprocess.run([sys.executable, ROOT / "build.py", "--model", GARDEN, "--out", dist,
                    "--shard-mib", str(shard_mib)], check=True, stdout=subprocess.DEVNULL)


def append_shards(model, count, generator, most=EXTRA_BYTES):
    path = model / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for first in range(0, count, most):
        content = generator.randbytes(min(most, count - first))
        digest = hashlib.sha256(content).hexdigest()
        manifest["shards"].append({"file": f"{digest}.bin", "bytes": len(content),
                                   "sha256": digest, "component": "transformer"})
        (model / f"{digest}.bin").write_bytes(content)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def model_bytes(model):
    shards = json.loads((model / "manifest.json").read_text(encoding="utf-8"))["shards"]
    return sum(shard["bytes"] for shard in shards if not shard.get("onDemand"))


def sent(host):
    return sum(host.shards().values())


def kill(host, profile, size, kills, generator):
    """Each time after a random share of what is left, on average an equal one."""
    for count in range(kills):
        share = max(size - on_disk(profile), 0) / (kills - count + 1)
        with browser(host, profile):
            wait(host, sent(host) + max(generator.uniform(0, 2 * share), 1))
        print(f"kill {count + 1:3}: {sent(host):>13,} bytes sent so far, "
              f"{on_disk(profile):>13,} on disk", flush=True)


@contextmanager
def browser(host, profile):
    """One that shows the page, killed in the end. It has no debugger, which would keep a hundred
    megabytes of what is fetched."""
    settings = command(WEBGPU)
    process = subprocess.Popen(
        [settings["executable_path"], "--headless=new", f"--user-data-dir={profile}",
         *settings["args"], host.url], start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        with host.turn:  # what a dead browser is sent would count, too
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(1)  # until the kernel has ended all of them


def wait(host, count):
    """Until so many bytes were sent in all."""
    deadline = time.monotonic() + PATIENCE
    while sent(host) < count:
        if time.monotonic() > deadline:
            sys.exit(f"{sent(host):,} bytes sent after {PATIENCE} s, expected {count:,.0f}")
        time.sleep(0.005)


def complete(host, profile, size):
    """Downloads the rest, and watches the page's memory."""
    goal = sent(host) + size - on_disk(profile)
    with Residents() as residents, browser(host, profile):
        wait(host, sent(host) + 1)
        residents.begin("while it downloads")
        wait(host, goal)
        time.sleep(SETTLE)
        residents.begin("afterwards")
        time.sleep(SETTLE)
    for stage, peaks in residents.peaks.items():
        print(f"page's resident memory at most, {stage}: {peaks['renderer'] / 1e6:,.0f} MB")


def check(host, profile):
    """The page is ready from what is kept."""
    with sync_playwright() as playwright:
        visit(playwright, profile, host)


def visit(playwright, profile, host, look=lambda: None):
    """Opens the page in the profile; what look() says before, and when the page is ready."""
    context = launch_profile(playwright, profile)
    try:
        page = context.new_page()
        before = look()
        page.goto(host.url)
        expect(page.get_by_text("Ready ·")).to_be_visible(timeout=READY_MS)
        return before, look()
    finally:
        context.close()


def on_disk(profile):
    """Bytes of all files in OPFS, its own books of a few kilobytes included."""
    return sum(path.stat().st_size for path in (profile / FILES).rglob("*") if path.is_file())


def report(host, size, kills):
    twice = sent(host) - size
    requests = sum(len(asked) for name, asked in host.asked.items() if name.endswith(".bin"))
    print(f"{kills} kills: {sent(host):,} bytes of shards sent in {requests} requests, "
          f"{twice:,} of them twice: {100 * twice / size:.2f} % of the model")


if __name__ == "__main__":
    main()
