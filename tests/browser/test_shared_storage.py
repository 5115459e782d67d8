"""Tabs, sites and builds that share one origin's storage: none takes another's model away."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import flaky
from tests.browser.flaky import FlakyServer
from tests.browser.library import Library, LibraryError
from tests.browser.loader import first_shards, total
from tests.browser.studio import SMALL

MODELS = Path(__file__).resolve().parents[2] / "models"
REQUEST = {"prompt": "a pine in a blue pot", "seed": 3, "width": 64, "height": 64, "steps": 2}
DELETED_MIDWAY = """
async ([url, request, memory]) => {
  const manifest = new URL('model/manifest.json', url);
  const pipe = await library.trefoil.loadPipeline(manifest, { memory });
  const drawn = async (onProgress) => library.encode(
    (await pipe.generate(request, { onProgress })).rgba);
  const undisturbed = await drawn(() => {});
  const stages = [];
  let deleting = null;
  const disturbed = await drawn(({ stage, step, loadedBytes }) => {
    stages.push({ stage, loadedBytes });
    if (stage === 'denoise' && step === 0) deleting ??= library.trefoil.deleteModel();
  });
  await deleting;
  const after = await drawn(() => {});
  pipe.destroy();
  return { undisturbed, disturbed, after, stages };
}
"""


@pytest.fixture(scope="module")
def ternary(site):
    return site(MODELS / "garden-ternary", shard_mib=0.5)


@pytest.fixture(scope="module")
def binary(site):
    return site(MODELS / "garden-binary", shard_mib=0.5)


@pytest.fixture(scope="module")
def newer(site):
    """Another build of the first one, with no file in common."""
    return site(MODELS / "garden-ternary", shard_mib=0.4)


@pytest.fixture
def host(ternary, binary, tmp_path):
    """The sites /a/ and /b/, of other models, and /same/ with that of /a/."""
    for name, dist in (("a", ternary), ("b", binary), ("same", ternary)):
        shutil.copytree(dist, tmp_path / "root" / name)
    with FlakyServer(tmp_path / "root") as host:
        host.root = tmp_path / "root"
        yield host


class Site:
    """One of the host's sites, as Loader and Library want a host."""

    def __init__(self, host, name):
        self.url = f"{host.url}{name}/"


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

def test_a_tab_draws_on_after_another_deleted_the_model(context, host, ternary):
    one = ready(opened(context, f"{host.url}a/?{SMALL}&seed=5"))
    draw(one)
    first = one.locator("figure img").get_attribute("src")
    other = ready(opened(context, f"{host.url}a/?{SMALL}"))
    press_delete(other)
    expect(other.get_by_role("button", name=re.compile("Load model"))).to_be_visible()
    assert kept(other) == set()
    host.forget()
    one.bring_to_front()
    draw(one)
    expect(one.locator("figure img")).not_to_have_attribute("src", first)
    expect(one.get_by_role("alert")).to_have_text("")
    assert files_of(ternary) <= kept(one)
    assert set(host.shards()) == kept(one)


@pytest.mark.parametrize("memory", ["auto", "small"])
def test_a_picture_whose_files_are_deleted_midway_is_the_same(browser, host, ternary, memory):
    with Library(browser, Site(host, "a").url, worker=True) as library:
        got = library.scope.evaluate(DELETED_MIDWAY, [library.url, REQUEST, memory])
    assert got["undisturbed"] == got["disturbed"] == got["after"]
    fetched = [event["loadedBytes"] for event in got["stages"] if event["stage"] == "download"]
    assert bool(fetched) == (memory == "small"), "what is on the GPU needs no file"


def test_a_deleted_model_that_cannot_be_fetched_is_told_and_drawn_when_it_can(
    browser, host, ternary
):
    with Library(browser, Site(host, "a").url, worker=True) as library:
        library.limit(firstWait=4)
        library.load()
        drawn = library.generate(**REQUEST)
        library.scope.evaluate("() => library.trefoil.deleteModel()")
        for shard in first_shards(ternary):
            host.keep(shard["file"], flaky.refuse(404))
        with pytest.raises(LibraryError) as caught:
            library.generate(**REQUEST)
        assert caught.value.name == "DownloadError"
        host.heal()
        again = library.generate(**REQUEST)
    assert (again["rgba"] == drawn["rgba"]).all()
    loading = [event for event in again["progress"] if event["stage"] == "download"]
    assert loading[-1]["loadedBytes"] == loading[-1]["totalBytes"] > 0


# ---- sites --------------------------------------------------------------------------------------

def test_sites_of_an_origin_count_and_delete_their_own_models(context, host, ternary, binary):
    a = ready(opened(context, f"{host.url}a/?{SMALL}"))
    b = ready(opened(context, f"{host.url}b/?{SMALL}"))
    assert kept(b) >= files_of(ternary) | files_of(binary)
    a.get_by_text("This device and the model").click()
    own = f"{total(first_shards(ternary)) / 1e6:.1f} MB"
    expect(a.get_by_role("button", name="Delete model")).to_have_text(f"Delete model ({own})")
    a.get_by_text("This device and the model").click()
    press_delete(a)
    expect(a.get_by_role("button", name=re.compile("Load model"))).to_be_visible()
    assert kept(b) == files_of(binary)
    host.forget()
    b.reload()
    draw(ready(b))
    assert not files_of(binary) & set(host.shards())


def test_files_that_two_sites_share_stay_for_the_other(context, host, ternary):
    ready(opened(context, f"{host.url}a/"))
    host.forget()
    same = ready(opened(context, f"{host.url}same/"))
    assert host.shards() == {}
    press_delete(same)
    stay = re.compile(r"4\.\d MB of it stay, because another site here has them, too")
    expect(same.locator("#live")).to_have_text(stay)
    assert kept(same) == files_of(ternary)
    a = ready(opened(context, f"{host.url}a/"))
    press_delete(a)
    expect(a.get_by_role("button", name=re.compile("Load model"))).to_be_visible()
    assert kept(a) == set()


def test_a_site_under_another_one_is_a_site_of_its_own(context, host, ternary, binary):
    shutil.copytree(binary, host.root / "a" / "deeper")
    ready(opened(context, f"{host.url}a/"))
    ready(opened(context, f"{host.url}a/deeper/"))
    press_delete(a := ready(opened(context, f"{host.url}a/")))
    expect(a.get_by_role("button", name=re.compile("Load model"))).to_be_visible()
    assert kept(a) == files_of(binary)


def test_what_was_kept_before_there_were_claims_is_found_again(context, host, ternary):
    page = ready(opened(context, f"{host.url}a/"))
    page.evaluate("""async () => {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle('trefoil');
      await folder.removeEntry('claims', { recursive: true });
    }""")
    page.close()
    host.forget()
    page = ready(opened(context, f"{host.url}a/"))
    assert host.shards() == {}
    press_delete(page)
    expect(page.get_by_role("button", name=re.compile("Load model"))).to_be_visible()
    assert kept(page) == set()


# ---- builds -------------------------------------------------------------------------------------

@pytest.fixture
def replace(host, newer):
    """replace(): a newer build in the place of /a/'s."""
    def run():
        shutil.rmtree(host.root / "a")
        shutil.copytree(newer, host.root / "a")

    return run


def test_a_replaced_model_goes_when_the_new_one_is_whole(
    context, host, replace, ternary, binary, newer
):
    for name in "ab":
        ready(opened(context, f"{host.url}{name}/")).close()
    replace()
    host.keep(first_shards(newer)[0]["file"], flaky.hold(1000))
    page = opened(context, f"{host.url}a/")
    expect(page.locator("#model-text")).to_contain_text(" of ")
    assert files_of(ternary) | files_of(binary) <= kept(page)
    host.heal()
    page.reload()
    ready(page)
    assert kept(page) == files_of(newer) | files_of(binary)


def test_a_replaced_model_that_another_site_has_stays(context, host, replace, ternary, newer):
    for name in ("a", "same"):
        ready(opened(context, f"{host.url}{name}/")).close()
    replace()
    page = ready(opened(context, f"{host.url}a/"))
    assert kept(page) == files_of(newer) | files_of(ternary)


def test_a_replaced_model_that_another_tab_draws_from_stays_until_that_is_closed(
    context, host, replace, ternary, newer
):
    old = ready(opened(context, f"{host.url}a/"))
    replace()
    page = ready(opened(context, f"{host.url}a/"))
    assert kept(page) == files_of(newer) | files_of(ternary)
    old.close()
    page.reload()
    assert kept(ready(page)) == files_of(newer)


# ---- told ---------------------------------------------------------------------------------------

def test_a_full_disk_is_told_when_it_happens(context, host, ternary):
    page = context.new_page()
    session = context.new_cdp_session(page)
    most = total(first_shards(ternary)) // 2
    session.send("Storage.overrideQuotaForOrigin", {"origin": host.url[:-1], "quotaSize": most})
    page.goto(f"{host.url}a/?{SMALL}")
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
def test_where_the_model_is_kept_is_told(context, host, refused):
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
    page = ready(opened(context, f"{host.url}a/?{SMALL}"))
    page.get_by_text("This device and the model").click()
    told = ("refused here: the model is gone when the page is closed" if "cache.js" in refused
            else re.compile(r"4\.\d MB on this device, in the browser's cache; the browser may"))
    expect(page.locator("#device-rows")).to_contain_text(told)
    host.forget()
    page.reload()
    ready(page)
    assert host.shards() == {}, "nothing comes twice, be it from the browser's cache of the network"
