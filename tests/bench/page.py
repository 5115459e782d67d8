"""bench.html, built, served and run in headless Chromium."""

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from export import environment
from export.onnx import web_runtime
from export.site.serve import Handler
from tests.bench import graphs
from tests.conftest import launch
from tests.dist import located
from tests.hosting import Host

ROOT = Path(__file__).resolve().parents[2]
POLL_MS = 500
WANTED_ROWS = """
async (names) => {
  const { inspectDevice } = await import('./code/engine/device.js');
  const { fixedRows } = await import('./code/bench/shapes.js');
  const rows = Object.values(fixedRows()).flat();
  if (names.some((name) => name.startsWith('model'))) {
    const { openEngine } = await import('./code/bench/engine.js');
    const { modelRows } = await import('./code/bench/model_rows.js');
    const { fetchManifest } = await import('./code/loader/manifest.js');
    const engine = await openEngine();
    const manifest = await fetchManifest(new URL('./model/manifest.json', location.href));
    rows.push(...await modelRows(engine, manifest));
    engine.destroy();
  }
  return { // no graph has a bias, an activation or a cap
    rows: rows.filter(({ section, id, bias, act, softcap }) => !bias && !act && !softcap
      && (names.includes(section) || names.includes(id))),
    features: (await inspectDevice()).features,
  };
}
"""


class Isolated(Handler):
    """The site with the headers that threads of WebAssembly ask for."""

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def build(model, dist, alone):
    command = [sys.executable, ROOT / "build.py", "--model", model, "--out", dist]
    command += [] if alone else ["--onnx"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        environment.fail(f"build.py could not build {model}:\n{done.stderr}")
    return dist


def run(dist, options, environ):
    """The page's results and what the console said; onnxruntime-web is put into dist/ort unless the
    engine is to be timed alone."""
    if not options.alone:
        web_runtime.copy_to(dist / "ort", web_runtime.BENCH_FILES)
    with Host(dist, Isolated) as host, sync_playwright() as playwright:
        url = host.url
        browser = launch(playwright, path=options.chromium, env=environ)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(0)
        complaints = []
        page.on("console", lambda message: message.type == "error"
                and complaints.append(message.text))
        page.goto(f"{url}bench.html")
        query = f"run&rows={','.join(options.rows)}&samples={options.samples}"
        if options.precisions:
            query += f"&precisions={','.join(options.precisions)}"
        if not options.alone:
            wanted = page.evaluate(located(WANTED_ROWS, url), options.rows)
            graphs.write(dist / "ort", wanted["rows"], "shader-f16" in wanted["features"])
            query += "&ort=./ort/"
        page.goto(f"{url}bench.html?{query}")
        phase, status = follow(page)
        if options.screenshot:
            page.screenshot(path=options.screenshot, full_page=True)
        written = page.get_by_role("textbox", name="Results as JSON").input_value() \
            if page.locator("#json-region").is_visible() else ""
        browser.close()
    if phase != "done" or not written:
        environment.fail(status)
    return json.loads(written), complaints


def follow(page):
    """Tells what the page is at until it is done: (phase, its last words)."""
    said = ""
    while True:
        phase, status = page.evaluate(
            "() => [document.body.dataset.phase, document.getElementById('status').textContent]")
        if status != said:
            environment.tell(status)
        said = status
        if phase in ("done", "failed"):
            return phase, status
        page.wait_for_timeout(POLL_MS)
