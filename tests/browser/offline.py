"""Pages that outlive their server: what the service worker keeps of a site."""

from tests.dist import located
from tests.waiting import wait_until

ACTIVE = """navigator.serviceWorker.getRegistration().then((registration) =>
  registration?.active?.state === 'activated' || null)"""


def open_page(browser):
    """A page of a fresh profile; `logged` has its errors and warnings."""
    page = browser.new_context().new_page()
    page.logged = []
    page.on("console", lambda message: message.type in ("error", "warning")
            and page.logged.append(message.text))
    page.on("pageerror", lambda error: page.logged.append(str(error)))
    return page


def complaints(page):
    """What the page logged, apart from the browser's having no adapter."""
    return [line for line in page.logged if "adapter" not in line]


def until(page, ask):
    """Asks until the answer is neither null nor false; it. The page's policy forbids Playwright's
    own waiting."""
    return wait_until(lambda: page.evaluate(ask), ask, pause=lambda: page.wait_for_timeout(50))


def kept(page, url):
    """What keepShell() of the site at `url` resolves to."""
    page.evaluate("delete globalThis.kept")
    page.evaluate(located("import('./code/studio/offline.js').then(({ keepShell }) => {"
                          "keepShell().then((kept) => { globalThis.kept = [kept]; }); })", url))
    return until(page, "globalThis.kept")[0]


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


def leave(context):
    """Closes all pages, so that the newest worker takes over, and waits until it has."""
    blank = context.new_page()
    versions = {}
    session = context.new_cdp_session(blank)
    session.on("ServiceWorker.workerVersionUpdated", lambda told: versions.update(
        {one["versionId"]: one["status"] for one in told["versions"]}))
    session.send("ServiceWorker.enable")
    wait_until(lambda: versions or None, "the browser tells of its workers",
               lambda: blank.wait_for_timeout(50))
    for page in context.pages:
        if page != blank:
            page.close()
    newest = max(versions, key=int)
    wait_until(lambda: versions[newest] == "activated", "the newest worker takes over",
               lambda: blank.wait_for_timeout(50))


def caches_of(page):
    """Those of the shell: a site's address is in their names. The loader has others."""
    return [name for name in page.evaluate("caches.keys()") if name.startswith("trefoil http")]
