"""Draws with a site of the published size in headless Chromium, and compares every block.

    python -m tests.fullscale.browser CHECKPOINT DIST [--size 128] [--steps 2] [--guidance 1]
                                      [--memory small]

CHECKPOINT is an MLX-packed folder (python -m tests.fullscale mlx ternary CHECKPOINT), of any of the
families, DIST the site that build.py made of it. The device has WebGPU's default limits, and the
page keeps its files in a profile on disk, beside DIST. Prints the relative errors against diffusers
in float32, the peak of GPU memory, the resident memory of Chromium's processes, the largest
buffers, and seconds.
"""

import argparse
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import sync_playwright

from export.packing.manifest import read_manifest
from export.site.serve import make_server
from tests.browser.library import Library
from tests.browser.test_device import DEFAULT_LIMITS
from tests.conftest import launch_profile
from tests.fullscale.residents import Residents
from tests.fullscale.truth import stages_of

LIMIT = 1e-4
MIB = 1 << 20
STAGES = {  # what follows the last result
    None: "encoding", "noise": "denoising", "latents": "decoding", "decoded": "returning",
}
WATCH = """
() => {
  globalThis.largest = { array: 0, read: 0, upload: 0, buffer: 0, binding: 0 };
  const note = (kind, bytes) => { largest[kind] = Math.max(largest[kind], bytes); };
  const watch = (prototype, method, look) => {
    const plain = prototype[method];
    prototype[method] = function (...all) {
      look(this, ...all);
      return plain.apply(this, all);
    };
  };
  for (const name of ['ArrayBuffer', 'Uint8Array', 'Int32Array', 'Uint32Array', 'Float32Array']) {
    globalThis[name] = new Proxy(globalThis[name], { construct(target, values) {
      const made = new target(...values);
      note('array', made.byteLength);
      return made;
    } });
  }
  watch(Blob.prototype, 'arrayBuffer', (blob) => note('read', blob.size));
  watch(GPUQueue.prototype, 'writeBuffer', (queue, buffer, at, { byteLength }) =>
    note('upload', byteLength));
  watch(GPUDevice.prototype, 'createBuffer', (device, { size }) => note('buffer', size));
  watch(GPUDevice.prototype, 'createBindGroup', (device, { entries }) => {
    for (const { resource } of entries) note('binding', resource.size);
  });
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
    parser.add_argument("--guidance", type=float, help="of Sana; 1: without a negative prompt")
    parser.add_argument("--memory", choices=("auto", "small"), default="auto")
    options = parser.parse_args()
    request = {"prompt": options.prompt, "seed": 0, "width": options.size,
               "height": options.size, "steps": options.steps}
    if options.guidance is not None:
        request["guidanceScale"] = options.guidance
    picture = draw(options.dist, request, options.memory)
    start = time.monotonic()
    want = stages_of(options.checkpoint, request, picture)
    print(f"reference {time.monotonic() - start:.0f} s", flush=True)
    worst = compare(picture["seen"], want)
    print(f"worst {worst:.1e}, at most {LIMIT:.0e} expected")
    sys.exit(0 if worst <= LIMIT else 1)


def draw(dist, request, memory):
    """What Library.generate returns, its figures printed."""
    httpd = make_server(dist, 0)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{httpd.server_port}/"
    with sync_playwright() as playwright, TemporaryDirectory(dir=dist.parent) as profile:
        context = launch_profile(playwright, profile)
        with Library(context.browser, url, context) as library, Residents() as residents:
            library.page.set_default_timeout(0)
            library.page.on("console", lambda message: follow(message, residents))
            library.page.evaluate(DEFAULT_LIMITS)
            library.page.evaluate(WATCH)
            residents.begin("loading")
            start = time.monotonic()
            library.load(memory=memory, textTokens=text_tokens_of(dist), storage="opfs")
            print(f"loaded in {time.monotonic() - start:.0f} s", flush=True)
            residents.begin(STAGES[None])
            picture = library.generate(tensors=True, blocks=True, **request)
            planned = library.plan(**request)["peakBytes"]
            largest = library.page.evaluate("() => largest")
            complaints = library.complaints
    httpd.shutdown()
    httpd.server_close()
    seconds = {name: np.round(np.divide(value, 1000), 1).tolist()
               for name, value in picture["timings"].items()}
    print(f"seconds {seconds}")
    print(f"GPU peak {picture['peakBytes']:,} bytes (with stages read back), "
          f"planned {planned:,}")
    for stage, peaks in residents.peaks.items():
        print(f"resident at most while {stage}", {kind: f"{peak // MIB} MiB"
                                                  for kind, peak in peaks.items()})
    print("largest", {kind: f"{size / MIB:.1f} MiB" for kind, size in largest.items()})
    for complaint in complaints:
        print(f"Chromium says: {complaint}")
    sys.stdout.flush()
    return picture


def text_tokens_of(dist):
    """Without padding, where a model can do without."""
    manifest = read_manifest(dist / "model" / "manifest.json")
    return "trimmed" if all(prompt["mask"] for prompt in manifest["prompts"]) else "padded"


def follow(message, residents):
    """Says which result came, and when."""
    if message.type != "debug":
        return
    print(time.strftime("%H:%M:%S"), message.text, flush=True)
    if message.text in STAGES:
        residents.begin(STAGES[message.text])


def compare(seen, want):
    """Prints a line a stage; returns the largest relative L2 error."""
    errors = {}
    for name, expected in want.items():
        difference = np.linalg.norm(seen[name].astype(np.float64) - expected)
        errors[name] = difference / np.linalg.norm(expected.astype(np.float64))
        print(f"{name:18} {str(list(expected.shape)):>16} {errors[name]:9.1e}")
    return np.max(list(errors.values()))


if __name__ == "__main__":
    main()
