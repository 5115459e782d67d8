"""A real Chromium with WebGPU, for every test that needs one.

Playwright's synchronous API allows one instance a process, so it stands here.
"""

import shutil

import pytest

# No test's outcome is to hang on this: it only ends a wait for what will never come. Nothing in
# tests/browser names a time of its own.
LAST_RESORT_MS = 300_000

# A page's own clock, so that nothing is over before a busy machine has looked: what is told for a
# while stays, and the graphics may take as long to answer as a test may.
UNHURRIED = """
{
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (act, ms, ...rest) => (
    setTimeout(act, ms === 12000 ? 2 ** 31 - 1 : ms, ...rest));
  const post = Worker.prototype.postMessage;
  const patienceMs = LAST_RESORT_MS;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message.type === 'inspect') message.patienceMs ??= patienceMs;
    if (message.type === 'load') message.options = { ...message.options,
      patienceMs: message.options.patienceMs ?? patienceMs };
    return post.call(this, message, ...rest);
  };
}
""".replace("LAST_RESORT_MS", str(LAST_RESORT_MS))

QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WEBGPU = ["--enable-unsafe-webgpu"]  # lets Chromium offer its software adapter


def launch(playwright, flags=WEBGPU, path=None, env=None):
    """A headless Chromium, the one on the PATH by default; without the WebGPU flag it offers no
    adapter."""
    return patient(playwright.chromium.launch(**command(flags, path), env=env))


def launch_profile(playwright, folder):
    """A context whose pages keep their files in `folder`; those of others live in memory."""
    return unhurried(playwright.chromium.launch_persistent_context(folder, **command(WEBGPU)))


def patient(browser):
    """The browser; whatever is opened in it is not in a hurry."""
    def opening(make):
        return lambda **options: unhurried(make(**options))

    browser.new_context, browser.new_page = map(opening, (browser.new_context, browser.new_page))
    return browser


def unhurried(opened):
    """A context or a page."""
    opened.set_default_timeout(LAST_RESORT_MS)
    opened.add_init_script(UNHURRIED)
    return opened


def command(flags, path=None):
    path = path or shutil.which("chromium") or "/usr/bin/chromium"
    return {"executable_path": path, "args": ["--no-sandbox", *flags, *QUIET],
            "timeout": LAST_RESORT_MS}


@pytest.fixture(scope="session")
def playwright():
    from playwright.sync_api import expect, sync_playwright  # only what needs a browser

    expect.set_options(timeout=LAST_RESORT_MS)
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browsers(playwright):
    """browsers(*flags) -> the one browser of all files that has these flags."""
    started = {}

    def browser(*flags):
        if flags not in started or not started[flags].is_connected():
            started[flags] = launch(playwright, flags)
        return started[flags]

    yield browser
    for one in started.values():
        one.close()


@pytest.fixture(scope="module")
def browser(browsers):
    yield from emptied(browsers(*WEBGPU))


@pytest.fixture
def plain(browsers):
    """A browser without an adapter, for all that does not draw."""
    yield from emptied(browsers())


def emptied(browser):
    """The browser; what is left open in it is closed in the end."""
    yield browser
    for context in browser.contexts:
        context.close()
