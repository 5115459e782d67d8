"""Draws with a site of the published size in headless Chromium, and compares every block.

    python -m tests.fullscale.browser CHECKPOINT DIST [--size 128] [--steps 2] [--memory small]

CHECKPOINT is an MLX-packed folder (python -m tests.fullscale mlx ternary CHECKPOINT), DIST the site
that build.py made of it. Prints the relative errors against diffusers in float32, the peak of GPU
memory, the resident memory of Chromium's processes, the largest JavaScript buffers, and seconds.
"""

import argparse
import sys
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from export.serve import make_server
from tests.browser.library import Library
from tests.conftest import launch
from tests.reference import reference
from tests.streamed import load_streamed

LIMIT = 1e-4
MIB = 1 << 20
WATCH_BUFFERS = """
() => {
  globalThis.largest = { read: 0, upload: 0 };
  const note = (kind, bytes) => { largest[kind] = Math.max(largest[kind], bytes); };
  const { arrayBuffer } = Blob.prototype;
  Blob.prototype.arrayBuffer = function () {
    note('read', this.size);
    return arrayBuffer.call(this);
  };
  const { writeBuffer } = GPUQueue.prototype;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, ...rest) {
    note('upload', data.byteLength);
    return writeBuffer.call(this, buffer, offset, data, ...rest);
  };
}
"""


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fullscale.browser", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--prompt", default="a red maple bonsai in a round blue pot")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--memory", choices=("auto", "small"), default="auto")
    options = parser.parse_args()
    request = {"prompt": options.prompt, "seed": 0, "width": options.size,
               "height": options.size, "steps": options.steps}
    picture = draw(options.dist, request, options.memory)
    start = time.monotonic()
    want = reference(options.checkpoint, **request, pipeline=load_streamed(options.checkpoint),
                     max_sequence_length=picture["tokens"]["count"])
    print(f"reference {time.monotonic() - start:.0f} s", flush=True)
    worst = compare(picture["seen"], want)
    print(f"worst {worst:.1e}, at most {LIMIT:.0e} expected")
    sys.exit(worst > LIMIT)


def draw(dist, request, memory):
    """What Library.generate returns, its figures printed."""
    httpd = make_server(dist, 0)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        with Library(browser, f"http://127.0.0.1:{httpd.server_port}/") as library:
            library.page.set_default_timeout(0)
            library.page.evaluate(WATCH_BUFFERS)
            start = time.monotonic()
            library.load(memory=memory, textTokens="trimmed", storage="opfs")
            print(f"loaded in {time.monotonic() - start:.0f} s", flush=True)
            picture = library.generate(tensors=True, blocks=True, **request)
            planned = library.plan(**request)["peakBytes"]
            largest = library.page.evaluate("() => largest")
            processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
            memories = {one["type"]: peak_resident(one["id"]) for one in processes["processInfo"]}
            complaints = library.complaints
        browser.close()
    httpd.shutdown()
    httpd.server_close()
    seconds = {name: np.round(np.divide(value, 1000), 1).tolist()
               for name, value in picture["timings"].items()}
    print(f"seconds {seconds}")
    print(f"GPU peak {picture['peakBytes']:,} bytes (with stages read back), "
          f"planned {planned:,}")
    print("peak resident MiB", {kind: peak // MIB for kind, peak in memories.items()})
    print(f"largest JavaScript buffers {largest}", *complaints, sep="\n", flush=True)
    return picture


def peak_resident(process):
    """VmHWM in bytes, on Linux."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def compare(seen, want):
    """Prints a line a stage; returns the largest relative L2 error."""
    stages = {"encoder_rows": want["encoder_rows"]}
    for step, velocity in enumerate(want["velocity"]):
        stages |= {f"block.{name}.{step}": blocks[step] for name, blocks in want["blocks"].items()}
        stages[f"velocity.{step}"] = velocity
    stages |= {"latents": want["latents"], "decoded": want["decoded"]}
    errors = {}
    for name, expected in stages.items():
        difference = np.linalg.norm(seen[name].astype(np.float64) - expected)
        errors[name] = difference / np.linalg.norm(expected.astype(np.float64))
        print(f"{name:18} {str(list(expected.shape)):>16} {errors[name]:9.1e}")
    return max(errors.values())


if __name__ == "__main__":
    main()
