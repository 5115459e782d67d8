"""Real sites, built by build.py, on a real server."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from export.site.serve import make_server
from tests.browser.studio import Visit
from tests.conftest import WEBGPU, launch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def open_browser(playwright):
    """open_browser(flags) -> a browser of the test's own; flags [] leaves it without an adapter."""
    opened = []

    def start(flags=WEBGPU):
        opened.append(launch(playwright, flags))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def visit(browser):
    """visit(address) -> a Visit in a fresh profile."""
    visits = []

    def open_page(address, **context):
        visits.append(Visit(browser, address, **context))
        return visits[-1]

    yield open_page
    for one in visits:
        one.context.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """site(model_dir, **options) -> dist folder; shard_mib=1 becomes --shard-mib 1, and True
    a bare flag. Each combination is built once; copy the folder before you damage it."""
    built = {}

    def build(model_dir, **options):
        key = (str(model_dir), tuple(sorted(options.items())))
        if key not in built:
            out = tmp_path_factory.mktemp("site") / "dist"
            command = [sys.executable, str(ROOT / "build.py"), "--model", str(model_dir)]
            for name, value in options.items():
                flag = "--" + name.replace("_", "-")
                command += [flag] if value is True else [flag, str(value)]
            done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
            built[key] = out
        return built[key]

    return build


@pytest.fixture(scope="session")
def server():
    """server(dist) -> "http://127.0.0.1:<port>/", what build.py --serve serves, until the end."""
    running = []

    def serve(dist):
        httpd = make_server(dist, 0)
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        running.append(httpd)
        return f"http://127.0.0.1:{httpd.server_port}/"

    yield serve
    for httpd in running:
        httpd.shutdown()
        httpd.server_close()
