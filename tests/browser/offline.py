"""A site whose server comes and goes, and pages that outlive it."""

import contextlib
import socket
import threading

from export.site.serve import Handler, make_server
from tests.dist import located

WAIT_MS = 60_000
ACTIVE = """navigator.serviceWorker.getRegistration().then((registration) =>
  registration?.active?.state === 'activated' || null)"""


class Host:
    """A server of `folder` that can go, open connections and all, and come back as it was."""

    def __init__(self, folder, handler=Handler):
        self.folder, self.handler, self.port = folder, handler, 0
        self.start()

    def start(self):
        self.server = make_server(self.folder, self.port, self.handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"
        self.connections, accept = [], self.server.get_request

        def accept_and_note():
            self.connections.append(accept())
            return self.connections[-1]

        self.server.get_request = accept_and_note
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection, _ in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def open_page(browser):
    """A page of a fresh profile; `logged` has its errors and warnings."""
    page = browser.new_context().new_page()
    page.set_default_timeout(WAIT_MS)
    page.logged = []
    page.on("console", lambda message: message.type in ("error", "warning")
            and page.logged.append(message.text))
    page.on("pageerror", lambda error: page.logged.append(str(error)))
    return page


def complaints(page):
    """What the page logged, apart from the browser's having no adapter."""
    return [line for line in page.logged if "adapter" not in line]


def until(page, ask):
    """Asks until the answer is neither null nor undefined; it. The page's policy forbids
    Playwright's own waiting."""
    for _ in range(WAIT_MS // 100):
        answer = page.evaluate(ask)
        if answer is not None:
            return answer
        page.wait_for_timeout(100)
    raise AssertionError(f"still nothing: {ask}")


def kept(page, url):
    """What keepShell() of the site at `url` resolves to."""
    page.evaluate("delete globalThis.kept")
    page.evaluate(located("import('./code/studio/offline.js').then(({ keepShell }) => {"
                          "keepShell().then((kept) => { globalThis.kept = kept; }); })", url))
    return until(page, "globalThis.kept")


def renewed(page):
    """Has the browser look for a new version of the site, and waits until it is kept; the worker's
    state: 'installed' where an earlier one is active while pages are open, else 'activated'."""
    page.evaluate("""async () => {
      globalThis.keeping = null;
      const registration = await navigator.serviceWorker.getRegistration();
      await registration.update();
      const worker = registration.installing ?? registration.waiting ?? registration.active;
      const wanted = ['installed', 'activated', 'redundant'];
      const look = () => { keeping = wanted.includes(worker.state) ? worker.state : null; };
      worker.addEventListener('statechange', look);
      look();
    }""")
    return until(page, "globalThis.keeping")


def caches_of(page):
    """Those of the shell: a site's address is in their names. The loader has others."""
    return [name for name in page.evaluate("caches.keys()") if name.startswith("trefoil http")]
