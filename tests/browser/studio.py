"""The studio in a page of its own, driven as a visitor drives it."""

import re
import shutil
from pathlib import Path

from playwright.sync_api import expect

from tests.waiting import wait_until

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
SMALL = "width=64&height=64&steps=2"

# In the worker: a drawing that comes to `stage`, and there to `step`, goes no further until it is
# let go, as on a very slow device. What ends it meanwhile does so at once.
HOLD = """
(at) => {
  if (globalThis.gate) return Object.assign(gate, at);
  globalThis.gate = { ...at, shut: null };
  const post = globalThis.postMessage;
  globalThis.postMessage = (message, ...rest) => {
    const { stage, step } = message.progress ?? {};
    if (stage === gate.stage && step >= gate.step) gate.shut ??= Promise.withResolvers();
    return post(message, ...rest);
  };
  const waits = [[GPUQueue, 'onSubmittedWorkDone'], [GPUBuffer, 'mapAsync']];
  for (const [{ prototype }, name] of waits) {
    const wait = prototype[name];
    prototype[name] = async function (...how) {
      await wait.apply(this, how);
      await gate.shut?.promise;
    };
  }
}
"""
IS_HELD = "() => gate.shut !== null"
NO_SHELL = """
ServiceWorkerContainer.prototype.register = async () => {
  throw new DOMException('refused', 'SecurityError');
};
"""
LET_GO = "() => { gate.shut?.resolve(); gate.shut = null; }"


class Visit:
    """One page in a fresh profile, with all that it logged and requested.

    `script` runs before the page's own, and prepare(context) before that. The browser refuses to
    keep the shell, which would cost as much as half a drawing: offline.py and test_updates.py have
    it kept.
    """

    def __init__(self, browser, address, script="", prepare=lambda context: None, **context):
        context = {"viewport": {"width": 1280, "height": 860}} | context
        self.context = browser.new_context(**context)
        self.context.add_init_script(NO_SHELL + script)
        prepare(self.context)
        self.logged, self.requested, self.referers = [], [], set()
        self.context.on("request", self.on_request)
        self.page = self.context.new_page()
        self.page.on("console", self.on_console)
        self.page.on("pageerror", lambda error: self.logged.append(str(error)))
        self.page.goto(address)

    def on_console(self, message):
        if message.type in ("error", "warning"):
            self.logged.append(message.text)

    def on_request(self, request):
        self.requested.append(request.url)
        self.referers.add(request.headers.get("referer"))

    def control(self, role, name):
        return self.page.get_by_role(role, name=name, exact=True)

    def button(self, name):
        return self.control("button", name)

    def picture(self):
        picture = self.page.get_by_role("img")
        expect(picture).to_be_visible()
        return picture

    def alert(self):
        alert = self.page.get_by_role("alert")
        expect(alert).to_be_visible()
        return alert.inner_text()

    def hold(self, stage="denoise", step=0):
        """Has drawings stand still there, from the next one on, each time until `let_go`."""
        self.page.workers[0].evaluate(HOLD, {"stage": stage, "step": step})

    def let_go(self, last=True):
        """The drawing goes on, once it is held; with `last` no other one will be."""
        worker = self.page.workers[0]
        wait_until(lambda: worker.evaluate(IS_HELD), "a drawing is held")
        if last:
            self.hold(stage=None)
        worker.evaluate(LET_GO)

    def loaded(self):
        expect(self.page.get_by_text("Ready ·")).to_be_visible()
        return self


def damaged(dist, tmp_path, change):
    """A copy of the site after change(folder)."""
    copy = tmp_path / "dist"
    shutil.copytree(dist, copy)
    change(copy)
    return copy


def tell_page(folder, **values):
    """Has the page of `folder` think otherwise of its model: bytes, images."""
    page = folder / "index.html"
    html = page.read_text(encoding="utf-8")
    for name, value in values.items():
        changed = re.sub(rf'data-{name}="\d+"', f'data-{name}="{value}"', html)
        assert changed != html
        html = changed
    page.write_text(html, encoding="utf-8")
