"""Real sites, built by build.py, on a real server."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser import faults
from tests.browser.flaky import FlakyServer
from tests.browser.library import Library
from tests.browser.loader import Loader, first_shards
from tests.browser.opened_engine import OPEN
from tests.browser.studio import GARDEN, Visit
from tests.conftest import launch
from tests.hosting import Host

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own_browser(playwright):
    """One that a test may break."""
    started = launch(playwright)
    yield started
    started.close()


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
def once(tmp_path_factory):
    """once(key, make, name) -> a folder of that name that make(folder) has written, once for all
    processes of this run of pytest."""
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "once"
    root.mkdir(exist_ok=True)

    def folder(key, make, name="dist"):
        place = root / hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        place.mkdir(exist_ok=True)
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / "made").exists():
                shutil.rmtree(place / name, ignore_errors=True)
                make(place / name)
                (place / "made").touch()
        return place / name

    return folder


@pytest.fixture(scope="session")
def site(once):
    """site(model_dir, **options) -> dist folder; shard_mib=1 becomes --shard-mib 1, and True
    a bare flag. Each combination is built once; copy the folder before you damage it."""
    def build(model_dir, **options):
        command = [sys.executable, str(ROOT / "build.py"), "--model", str(model_dir)]
        for name, value in sorted(options.items()):
            flag = "--" + name.replace("_", "-")
            command += [flag] if value is True else [flag, str(value)]

        def run(out):
            done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"

        return once(command, run)

    return build


@pytest.fixture(scope="session")
def made(once):
    """made(shape, variant, layout) -> what make_checkpoint makes of it; copy it before you change
    it."""
    def make(shape, variant="ternary", layout="mlx"):
        from tests.checkpoints import make_checkpoint  # torch, which takes seconds

        what = shape, variant, layout
        return once(("checkpoint", *what), lambda folder: make_checkpoint(folder, *what), shape)

    return make


@pytest.fixture(scope="session")
def server():
    """server(dist) -> "http://127.0.0.1:<port>/", what build.py --serve serves, until the end."""
    with ExitStack() as running:
        yield lambda dist: running.enter_context(Host(dist)).url


# ---- what most files ask for; those that need another site have a `dist` of their own ------------

@pytest.fixture(scope="module")
def dist(site):
    return site(GARDEN, shard_mib=1)


@pytest.fixture(scope="module")
def url(dist, server):
    return server(dist)


@pytest.fixture(scope="module")
def shards(dist):
    """Those of a first picture, the largest first."""
    return first_shards(dist)


@pytest.fixture
def host(dist):
    """A server of the site that can be spoilt."""
    with FlakyServer(dist) as host:
        yield host


@pytest.fixture
def own_host(dist, tmp_path):
    """A host of a copy of the site, which may be changed."""
    shutil.copytree(dist, tmp_path / "dist")
    with Host(tmp_path / "dist") as host:
        yield host


@pytest.fixture
def loader(browser, host):
    """loader(**options) -> a Loader, closed at the end."""
    with ExitStack() as opened:
        yield lambda **options: opened.enter_context(Loader(browser, host, **options))


@pytest.fixture(scope="module")
def engine(browser, url):
    """A page with the engine of the file's site opened in it, without a model."""
    with Library(browser, url) as library:
        library.page.evaluate(OPEN)
        yield library.page
        assert library.complaints == []


@pytest.fixture(scope="module")
def gathered(browser, server, tmp_path_factory):
    """gathered(dist) -> a Library, one page for all sites of the file, and what it is to load."""
    root = tmp_path_factory.mktemp("sites")
    url = server(root)
    names, pages = {}, []

    def gather(dist):
        if dist not in names:
            names[dist] = str(len(names))
            (root / names[dist]).symlink_to(dist)
        if not pages:
            pages.append(Library(browser, f"{url}{names[dist]}/", keeps_kernels=True))
        return pages[0], f"../{names[dist]}/model/manifest.json"

    yield gather
    for library in pages:
        library.context.close()


@pytest.fixture(scope="module")
def altering(browser, url):
    """A page of the library for `altered`."""
    with Library(browser, url) as library:
        yield library


@pytest.fixture
def altered(altering):
    """altered(file, right, wrong) -> a Library of the file's site, to which the next kernels come
    with `wrong` in the place of `right` in that file of wgsl/."""
    patterns = []

    def alter(file, right, wrong):
        patterns.append(f"**/wgsl/{file}.wgsl")
        faults.alter(altering.page, patterns[-1], right, wrong)
        return altering

    yield alter
    for pattern in patterns:
        altering.page.unroute(pattern)
