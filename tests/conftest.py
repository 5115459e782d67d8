"""A real Chromium with WebGPU, for every test that needs one.

Playwright's synchronous API allows one instance a process, so it stands here.
"""

import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

# No test's outcome is to hang on this: it only ends a wait for what will never come. Nothing in
# tests/browser names a time of its own.
LAST_RESORT_MS = 300_000
expect.set_options(timeout=LAST_RESORT_MS)

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
    context = playwright.chromium.launch_persistent_context(folder, **command(WEBGPU))
    context.set_default_timeout(LAST_RESORT_MS)
    return context


def patient(browser):
    """The browser; its contexts and pages wait as long as LAST_RESORT_MS by default."""
    def waiting(make):
        def made(**options):
            one = make(**options)
            one.set_default_timeout(LAST_RESORT_MS)
            return one

        return made

    browser.new_context, browser.new_page = map(waiting, (browser.new_context, browser.new_page))
    return browser


def command(flags, path=None):
    path = path or shutil.which("chromium") or "/usr/bin/chromium"
    return {"executable_path": path, "args": ["--no-sandbox", *flags, *QUIET],
            "timeout": LAST_RESORT_MS}


@pytest.fixture(scope="session")
def playwright():
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
