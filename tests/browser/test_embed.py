"""examples/embed: a page of one's own, beside the folder that build.py wrote."""

import re
import shutil
from pathlib import Path

from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
() => {
  const status = document.getElementById('status');
  const wait = GPUQueue.prototype.onSubmittedWorkDone;
  globalThis.held = Promise.withResolvers();
  GPUQueue.prototype.onSubmittedWorkDone = async function () {
    await wait.call(this);
    if (status.textContent === 'Drawing: denoise') await held.promise;
  };
}
"""
COLOURS = """
(canvas) => {
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  return [width, height, new Set(new Uint32Array(data.buffer)).size];
}
"""


def test_the_example_page_cancels_and_draws(browser, site, server, tmp_path):
    shutil.copytree(site(ROOT / "models" / "garden-ternary", shard_mib=1), tmp_path / "dist")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with browser.new_context() as context:
        page, logged = context.new_page(), []
        page.on("console", lambda message: message.type in ("error", "warning")
                and logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.goto(server(tmp_path) + "examples/embed/")
        status, canvas = page.get_by_role("status"), page.get_by_role("img")
        page.evaluate(HOLD)
        page.get_by_role("button", name="Draw").click()
        expect(status).to_have_text("Drawing: denoise")
        page.get_by_role("button", name="Cancel").click()
        expect(status).to_have_text("Cancelled")
        expect(canvas).to_have_accessible_name("Nothing yet")
        page.evaluate("() => held.resolve()")
        page.get_by_role("textbox", name="Prompt").fill("a pink cherry at sunset")
        page.get_by_role("button", name="Draw").click()
        expect(status).to_have_text(re.compile(r"Done in \d+\.\d s"))
        expect(canvas).to_have_accessible_name("a pink cherry at sunset")
        width, height, colours = canvas.evaluate(COLOURS)
        assert (width, height) == (128, 128) and colours > 1000
        assert logged == []
