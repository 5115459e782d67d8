"""Updates a site again and again under its visitors; counts pages that stick, are blank or mixed.

    python -m tests.updates [N] [--idle] [--kept] [--seed 0]

Each of the N updates changes scripts, styles and pages of Garden's site, while tabs are being
opened and reloaded, another browser draws, and a third one downloads the model at 200 kB a second;
meanwhile two processes keep both cores busy, unless --idle. --kept: the host lets browsers keep
pages for ten minutes, as GitHub Pages does. A page is blank if it has no heading once it is loaded,
stuck if it has not come to its end after two minutes, mixed if its parts are of several versions.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from export.folder import record
from export.folder.places import Workshop
from export.folder.staging import staging, take
from export.site.serve import Handler
from tests.browser.flaky import FlakyServer
from tests.conftest import WEBGPU, launch
from tests.dist import code_of, located, renew
from tests.hosting import Host

ROOT = Path(__file__).resolve().parent.parent
GARDEN = ROOT / "models" / "garden-ternary"
PATIENCE_MS = 120_000
SMALL = "?prompt=a+pine&seed=1&width=64&height=64&steps=4"
MARKS = {  # file -> what is added to it, so that a page that is open can say what it is made of
    "studio/main.js": "document.documentElement.dataset.main = '{mark}';",
    "studio/view.js": "document.documentElement.dataset.view = '{mark}';",
    "studio/style.css": ":root {{ --mark: '{mark}'; }}",
    "studio/worker.js": "globalThis.workerMark = '{mark}';",
    "engine/device.js": "globalThis.deviceMark = '{mark}';",
}
KEEP = """import('./code/studio/offline.js').then(({ keepShell }) => keepShell())"""
PARTS = """() => {
  const { main, view } = document.documentElement.dataset;
  const style = getComputedStyle(document.documentElement).getPropertyValue('--mark');
  return [document.body.dataset.mark, main, view, style.replaceAll(/[^0-9]/g, '')];
}"""
# Once the page's script has run to its end, or the page has said that it cannot.
SETTLED = "document.documentElement.dataset.main && document.body.dataset.phase || null"


class KeepingHandler(Handler):
    """A host that lets browsers keep all that it sends for ten minutes."""

    def send_header(self, name, value):
        super().send_header(name, "max-age=600" if name == "Cache-Control" else value)


class Site:
    """A site that is replaced by its next version, as build.py replaces one."""

    def __init__(self, built, dist):
        self.built, self.dist, self.mark = built, dist, 0
        self.update()

    def update(self):
        """Version `mark` + 1 in place of this one."""
        self.mark += 1
        with staging([Workshop(self.dist)]) as [stage]:
            folder = stage.partial
            shutil.copytree(self.built, folder, copy_function=link, dirs_exist_ok=True)
            for name, text in MARKS.items():
                append(code_of(folder) / name, "\n" + text.format(mark=self.mark) + "\n")
            page = (folder / "index.html").read_text(encoding="utf-8")
            write(folder / "index.html", page.replace("<body ", f'<body data-mark="{self.mark}" '))
            renew(folder, write)
            stage.sort_out()
            take([stage])
            record.write(stage.workshop, str(self.mark), stage.sizes)


def link(source, target):
    """A file that versions share; what differs is written anew."""
    os.link(source, target)


def write(path, text):
    path.unlink(missing_ok=True)  # the other versions keep theirs
    path.write_text(text, encoding="utf-8", newline="\n")


def append(path, text):
    write(path, path.read_text(encoding="utf-8") + text)


def is_replaced(error):
    """Whether a page could not be asked because the next one is taking its place, or has no body

    yet.
    """
    return any(word in str(error) for word in ("context", "navigat", "of null"))


class Tab:
    """A page that is loaded again and again; `found` counts what became of it."""

    def __init__(self, context, url, found, log=print):
        self.context, self.url, self.found, self.log = context, url, found, log
        self.page = None

    def open(self):
        self.close()
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        try:
            self.page.goto(self.url, wait_until="commit")
        except Error as error:
            self.count("stuck", str(error).splitlines()[0])

    def close(self):
        if self.page:
            self.page.close()
        self.page = None

    def reload(self):
        """Begins; `settle` sees the end."""
        self.page.evaluate("setTimeout(() => location.reload())")

    def settle(self, newest):
        """Waits until the page has started, and looks at it; its version."""
        try:
            self.page.wait_for_load_state("load")
            parts = self.until_started()
        except Error as error:
            return self.count("stuck", str(error).splitlines()[0])
        if self.page.locator("h1").count() != 1:
            return self.count("blank", self.page.content()[:200])
        if len(set(parts)) != 1 or not parts[0]:
            return self.count("mixed", parts)
        return self.count("newest" if parts[0] == str(newest) else "earlier", parts[0])

    def until_started(self):
        """What the page's parts say they are of, once its script has run."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while time.monotonic() < deadline:
            try:
                if self.page.evaluate(SETTLED):
                    return self.page.evaluate(PARTS)
            except Error as error:
                if not is_replaced(error):
                    raise
            self.page.wait_for_timeout(50)
        raise Error(f"not started: {self.page.inner_text('body')[:200]!r}")

    def count(self, what, told):
        self.found[what] += 1
        if what in ("stuck", "blank", "mixed"):
            self.log(f"{what}: {told}")
            self.open()
        return told


def keep_shell(page, url):
    """Installs the service worker, where no model has been loaded yet."""
    assert page.evaluate(located(KEEP, url)), "no service worker"


def workers_of(page):
    """The marks of the studio's worker: its own file's and the engine's."""
    return [worker.evaluate("[globalThis.workerMark, globalThis.deviceMark]")
            for worker in page.workers]


@contextmanager
def busy(count):
    """Processes that never rest."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


class Drawer:
    """A page that draws, or downloads, in a browser of its own; reloaded now and then."""

    def __init__(self, browser, url, name, found):
        self.tab = Tab(browser.new_context(), url + SMALL, found)
        self.name, self.found = name, found
        self.tab.open()

    def look(self):
        """What it is at; a drawing that has ended is followed by the next."""
        try:
            self.look_at(self.tab.page)
        except Error as error:
            if not is_replaced(error):
                raise

    def look_at(self, page):
        phase = page.evaluate("document.body?.dataset.phase")
        told = page.locator("#alert-text").inner_text() if phase else ""
        if told:
            self.found[f"{self.name}: {told[:90]}"] += 1
            self.tab.open()
        elif phase == "ready":
            self.found[f"{self.name}: pictures begun"] += 1
            page.get_by_role("button", name="Generate", exact=True).click()
        for marks in workers_of(page):
            if len(set(marks)) != 1:
                self.found[f"{self.name}: mixed worker {marks}"] += 1


def run(options, folder):
    generator, found = random.Random(options.seed), Counter()
    built, dist = folder / "built", folder / "site" / "dist"
    dist.parent.mkdir()
    subprocess.run([sys.executable, ROOT / "build.py", "--model", GARDEN, "--out", built,
                    "--shard-mib", "1"], check=True, stdout=subprocess.DEVNULL)
    site = Site(built, dist)
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        url = stack.enter_context(Host(dist, KeepingHandler if options.kept else Handler)).url
        slow = stack.enter_context(FlakyServer(dist, rate=2e5))
        reading, drawing = launch(playwright, []), launch(playwright, WEBGPU)
        context = reading.new_context()
        tabs = [Tab(context, url, found) for _ in range(3)]
        tabs[0].open()
        tabs[0].settle(site.mark)
        keep_shell(tabs[0].page, url)
        for tab in tabs[1:]:
            tab.open()
            tab.settle(site.mark)
        drawers = [Drawer(drawing, url, "drawing", found),
                   Drawer(drawing, slow.url, "downloading", found)]
        if not options.idle:
            stack.enter_context(busy(2))
        for count in range(options.updates):
            update(site, tabs, generator)
            for drawer in drawers:
                drawer.look()
                if generator.random() < 0.1:
                    drawer.tab.reload()
                    drawer.tab.settle(site.mark)
            if count % 10 == 9:
                print(f"{count + 1} updates: {dict(found)}", flush=True)
        reading.close()
        drawing.close()
    return found


def update(site, tabs, generator):
    """One update, in the middle of two tabs' loading; a third one may sit it out."""
    moving = tabs if generator.random() < 0.5 else tabs[:2]
    if generator.random() < 0.2:  # nobody is there for a moment: a new worker takes over
        moving = tabs
        for tab in tabs:
            tab.close()
    for tab in moving:
        tab.open() if not tab.page or generator.random() < 0.3 else tab.reload()
    time.sleep(generator.uniform(0, 0.5))
    site.update()
    for tab in moving:
        tab.settle(site.mark)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.updates", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("updates", type=int, nargs="?", default=200, metavar="N")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options, Path(folder))
    for what, count in sorted(found.items()):
        print(f"{count:6} {what}")
    sys.exit(any(found[what] for what in ("stuck", "blank", "mixed")))


if __name__ == "__main__":
    main()
