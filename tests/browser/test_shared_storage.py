"""Tabs, sites and builds that share one origin's storage: none takes another's model away."""

import re
import shutil
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from tests.browser import flaky
from tests.browser.flaky import FlakyServer
from tests.browser.library import Library
from tests.browser.loader import Loader, first_shards, total
from tests.browser.studio import GARDEN

REQUEST = {"prompt": "a pine in a blue pot", "seed": 3, "width": 64, "height": 64, "steps": 2}
FORM = "width=64&height=64&steps=1"
MANIFEST = "model/manifest.json"
DRAWING = """
async ([url, request, memory]) => {
  const { deleteModel, loadPipeline } = library.trefoil;
  globalThis.pipe?.destroy();
  globalThis.pipe = await loadPipeline(new URL('model/manifest.json', url), { memory });
  globalThis.drawn = async ({ midway = false } = {}) => {
    const fetched = [];
    let deleting = null;
    const onProgress = ({ stage, step, loadedBytes, totalBytes }) => {
      if (stage === 'download') fetched.push([loadedBytes, totalBytes]);
      if (midway && stage === 'denoise' && step === 0) deleting ??= deleteModel();
    };
    const { rgba } = await pipe.generate(request, { onProgress });
    if (midway) await deleting;
    return { rgba: library.encode(rgba), fetched };
  };
}
"""


@pytest.fixture(scope="module")
def ternary(site):
    return site(GARDEN, shard_mib=1)


@pytest.fixture(scope="module")
def binary(site):
    return site(GARDEN.parent / "garden-binary")


@pytest.fixture(scope="module")
def newer(site, ternary):
    """Another build of the first one; what is in their smallest files may be the same."""
    dist = site(GARDEN, shard_mib=0.25)
    assert len(files_of(dist) & files_of(ternary)) < len(files_of(ternary)) / 2
    return dist


@pytest.fixture
def host(ternary, binary, tmp_path):
    """The sites /a/ and /b/, of other models, and /same/ with that of /a/."""
    for name, dist in (("a", ternary), ("b", binary), ("same", ternary)):
        shutil.copytree(dist, tmp_path / "root" / name)
    with FlakyServer(tmp_path / "root") as host:
        host.root = tmp_path / "root"
        yield host


def site_of(host, name):
    """One of the host's sites, as Loader wants a host."""
    return SimpleNamespace(url=f"{host.url}{name}/")


@pytest.fixture
def context(browser):
    context = browser.new_context()
    yield context
    context.close()


def files_of(dist):
    return {shard["file"] for shard in first_shards(dist)}


def kept(page):
    """The names of the files in the private file system."""
    return set(page.evaluate("""async () => {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle('trefoil', { create: true });
      const names = [];
      for await (const [name, { kind }] of folder.entries()) if (kind === 'file') names.push(name);
      return names;
    }"""))


@pytest.fixture
def tab(plain, host):
    """tab(name) -> a Loader of that site, which claims what it fetches, in a tab beside the others
    of one profile; no GPU."""
    context = plain.new_context()
    yield lambda name: Loader(plain, site_of(host, name), context, claimed=True)
    context.close()


def holder(tab):
    """The tab, once the model is here."""
    assert tab.download() == "opfs"
    return tab


def opened(context, url):
    page = context.new_page()
    page.goto(url)
    return page


def ready(page):
    expect(page.locator("#model-text")).to_contain_text("Ready")
    return page


def draw(page):
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#draw-text")).to_contain_text("Done")


def press_delete(page):
    page.get_by_text("This device and the model").click()
    page.get_by_role("button", name="Delete model").click()
    page.get_by_role("button", name="Delete", exact=True).click()


# ---- tabs ---------------------------------------------------------------------------------------

def test_a_tab_draws_on_after_another_deleted_the_model_and_other_sites_keep_theirs(
    context, browser, host, ternary, binary
):
    neighbour = Loader(browser, site_of(host, "b"), context, claimed=True)
    neighbour.download()
    one = ready(opened(context, f"{host.url}a/?{FORM}&seed=5"))
    assert kept(one) == files_of(ternary) | files_of(binary)
    one.get_by_text("This device and the model").click()
    own = f"{total(first_shards(ternary)) / 1e6:.1f} MB"
    expect(one.get_by_role("button", name="Delete model")).to_have_text(f"Delete model ({own})")
    one.get_by_text("This device and the model").click()
    draw(one)
    first = one.locator("figure img").get_attribute("src")

    other = ready(opened(context, f"{host.url}a/?{FORM}"))
    press_delete(other)
    expect(other.get_by_role("button", name=re.compile("Load model"))).to_be_visible()
    assert kept(other) == files_of(binary), "the other site's stay, and nothing else does"
    host.forget()
    one.bring_to_front()
    draw(one)
    expect(one.locator("figure img")).not_to_have_attribute("src", first)
    expect(one.get_by_role("alert")).to_have_text("")
    assert files_of(ternary) <= kept(one)
    assert set(host.shards()) == kept(one) - files_of(binary)

    host.forget()
    neighbour.download()
    same = Loader(browser, site_of(host, "same"), context, claimed=True)
    same.download()
    assert host.shards() == {}, "what is here is right, and serves the site that has the same"
    both = kept(one)
    own = [file.stat().st_size for file in (ternary / "model").iterdir() if file.name in both]
    press_delete(one)
    expect(one.locator("#live")).to_contain_text(
        f"{sum(own) / 1e6:.1f} MB of it stay, because another site here has them, too")
    assert kept(one) == both
    same.delete(MANIFEST)
    assert kept(one) == files_of(binary)


def test_a_picture_whose_files_are_deleted_midway_is_the_same(browser, host, ternary):
    with Library(browser, site_of(host, "a").url, worker=True) as library:
        def load(memory):
            library.scope.evaluate(DRAWING, [library.url, REQUEST, memory])

        def drawn(**how):
            return library.scope.evaluate("(how) => drawn(how)", how)

        library.limit(firstWait=4)
        load("auto")
        undisturbed = drawn()["rgba"]
        disturbed = drawn(midway=True)
        assert disturbed == {"rgba": undisturbed, "fetched": []}, "what is on the GPU needs no file"
        for shard in first_shards(ternary):
            host.keep(shard["file"], flaky.refuse(404))
        failed = library.scope.evaluate("() => drawn().catch((error) => error.name)")
        assert failed == "DownloadError", "the files are gone, and cannot be fetched"
        host.heal()
        after = drawn()
        assert after["rgba"] == undisturbed
        loaded, whole = after["fetched"][-1]
        assert loaded == whole > 0
        load("small")
        disturbed = drawn(midway=True)
        assert disturbed["rgba"] == undisturbed and disturbed["fetched"]
        assert drawn()["rgba"] == undisturbed


# ---- sites --------------------------------------------------------------------------------------

def test_files_that_two_sites_share_stay_for_the_other(tab, host, ternary):
    one = holder(tab("a"))
    host.forget()
    same = holder(tab("same"))
    assert host.shards() == {}
    same.delete(MANIFEST)
    assert kept(same.page) == files_of(ternary)
    one.delete(MANIFEST)
    assert kept(one.page) == set()


def test_a_site_under_another_one_is_a_site_of_its_own(tab, host, binary):
    shutil.copytree(binary, host.root / "a" / "deeper")
    one = holder(tab("a"))
    holder(tab("a/deeper"))
    one.delete(MANIFEST)
    assert kept(one.page) == files_of(binary)


def test_what_was_kept_before_there_were_claims_is_found_again(tab, host, ternary):
    one = holder(tab("a"))
    one.page.evaluate("""async () => {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle('trefoil');
      await folder.removeEntry('claims', { recursive: true });
    }""")
    one.page.close()
    host.forget()
    one = holder(tab("a"))
    assert host.shards() == {} and kept(one.page) == files_of(ternary)
    one.delete(MANIFEST)
    assert kept(one.page) == set()


# ---- builds -------------------------------------------------------------------------------------

@pytest.fixture
def replace(host, newer):
    """replace(): a newer build in the place of /a/'s."""
    def run():
        shutil.rmtree(host.root / "a")
        shutil.copytree(newer, host.root / "a")

    return run


def test_a_replaced_model_goes_when_the_new_one_is_whole(
    tab, host, replace, ternary, binary, newer
):
    for name in "ab":
        holder(tab(name)).page.close()
    replace()
    held = first_shards(newer)[0]["file"]
    host.keep(held, flaky.hold(1000))
    one = tab("a")
    one.begin()
    host.until_held(held)
    assert files_of(ternary) | files_of(binary) <= kept(one.page)
    host.heal()
    one.page.close()
    assert kept(holder(tab("a")).page) == files_of(newer) | files_of(binary)


def test_a_replaced_model_that_another_site_has_stays(tab, replace, ternary, newer):
    for name in ("a", "same"):
        holder(tab(name)).page.close()
    replace()
    assert kept(holder(tab("a")).page) == files_of(newer) | files_of(ternary)


def test_a_replaced_model_that_another_tab_draws_from_stays_until_that_is_closed(
    tab, replace, ternary, newer
):
    old = holder(tab("a"))
    replace()
    one = holder(tab("a"))
    assert kept(one.page) == files_of(newer) | files_of(ternary)
    old.page.close()
    one.page.close()
    assert kept(holder(tab("a")).page) == files_of(newer)


# ---- told ---------------------------------------------------------------------------------------

def test_a_full_disk_is_told_when_it_happens(context, host, ternary):
    page = context.new_page()
    session = context.new_cdp_session(page)
    most = total(first_shards(ternary)) // 2
    session.send("Storage.overrideQuotaForOrigin", {"origin": host.url[:-1], "quotaSize": most})
    page.goto(f"{host.url}a/?{FORM}")
    expect(ready(page).locator("#model-text")).to_have_text(
        re.compile("The disk is full: gone when the page is closed"))
    page.get_by_text("This device and the model").click()
    rows = page.locator("#device-rows")
    expect(rows).to_contain_text(re.compile(r"MB on this device; the rest is not kept, because the "
                                            "disk is full, and is gone when the page is closed"))
    draw(page)
    page.get_by_role("button", name="Delete model").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#live")).to_have_text("The model is deleted from this device.")
    assert kept(page) == set()


@pytest.mark.parametrize("refused", [["opfs.js"], ["opfs.js", "cache.js"]],
                         ids=["opfs", "opfs and cache"])
def test_where_the_model_is_kept_is_told(context, browser, host, refused):
    """In the worker the storage's own code refuses, in the window the browser's function."""
    for name in refused:
        keeper = next((host.root / "a").rglob(f"loader/{name}"))
        code = keeper.read_text(encoding="utf-8")
        broken = code.replace("static async open() {", "static async open() {\n    "
                              "throw new DOMException('refused', 'SecurityError');")
        assert broken != code
        keeper.write_text(broken, encoding="utf-8")
    refuse = "async () => { throw new DOMException('refused', 'SecurityError'); }"
    context.add_init_script(f"StorageManager.prototype.getDirectory = {refuse};")
    if "cache.js" in refused:
        context.add_init_script(f"CacheStorage.prototype.keys = {refuse};")
    page = ready(opened(context, f"{host.url}a/?{FORM}"))
    page.get_by_text("This device and the model").click()
    told = ("refused here: the model is gone when the page is closed" if "cache.js" in refused
            else re.compile(r"4\.\d MB on this device, in the browser's cache; the browser may"))
    expect(page.locator("#device-rows")).to_contain_text(told)
    host.forget()
    page.close()
    again = Loader(browser, site_of(host, "a"), context)
    again.page.unroute_all()  # which lets the browser's cache of the network answer
    assert again.download() == ("memory" if "cache.js" in refused else "cache")
    assert host.shards() == {}, "nothing comes twice, be it from that cache"
