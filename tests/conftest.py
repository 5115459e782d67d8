"""A real Chromium with WebGPU, for every test that needs one.

Playwright's synchronous API allows one instance a process, so it stands here.
"""

import shutil

import pytest

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
    return playwright.chromium.launch(**command(flags, path), env=env)


def launch_profile(playwright, folder):
    """A context whose pages keep their files in `folder`; those of others live in memory."""
    return playwright.chromium.launch_persistent_context(folder, **command(WEBGPU))


def command(flags, path=None):
    path = path or shutil.which("chromium") or "/usr/bin/chromium"
    return {"executable_path": path, "args": ["--no-sandbox", *flags, *QUIET]}


@pytest.fixture(scope="session")
def playwright():
    from playwright.sync_api import sync_playwright  # what needs no browser does without it

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright):
    started = launch(playwright)
    yield started
    started.close()
