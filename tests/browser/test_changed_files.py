"""Files of the model that the disk has changed, or lost: noticed before they are drawn from."""

import base64
import re

import pytest
from playwright.sync_api import expect

from tests.browser import flaky, profile
from tests.browser.library import LibraryError
from tests.browser.loader import Loader, once
from tests.browser.studio import GARDEN, SMALL
from tests.conftest import launch_profile

DAMAGE = [profile.flip, profile.zero, profile.shorten, profile.lengthen, profile.empty, profile.mix]
PIXELS = """async () => {
  const bitmap = await createImageBitmap(document.querySelector('figure img'));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
  canvas.drawImage(bitmap, 0, 0);
  return new Uint8Array(canvas.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer)
    .toBase64();
}"""


@pytest.fixture(scope="module")
def dist(site):
    return site(GARDEN, shard_mib=0.5)


@pytest.fixture
def start(playwright, host, tmp_path):
    """start() -> a Loader in a profile that stays; the browser before is closed."""
    opened = []

    def open_loader():
        close()
        context = launch_profile(playwright, tmp_path / "profile")
        opened.append(Loader(context.browser, host, context))
        return opened[-1]

    def close():
        while opened:
            opened.pop().context.close()

    open_loader.close = close
    yield open_loader
    close()


def damage(tmp_path, dist, shard, how, storage="opfs"):
    content = (dist / "model" / shard["file"]).read_bytes()
    how(*profile.find(tmp_path / "profile", storage, content), content)


def test_files_that_changed_on_disk_are_fetched_again_and_no_other(
    start, host, dist, shards, tmp_path
):
    """Each kind of damage, to a file of its own."""
    damaged = shards[1:len(DAMAGE) + 1]
    assert len(damaged) == len(DAMAGE) < len(shards) - 1
    assert start().download() == "opfs"
    start.close()
    for shard, how in zip(damaged, DAMAGE, strict=True):
        damage(tmp_path, dist, shard, how)
    host.forget()
    one = start()
    assert one.download() == "opfs"
    assert host.shards() == once(damaged)
    assert one.progress()[0]["changed"] == {"files": len(damaged), "of": len(shards)}
    assert all(one.holds(dist, shard) for shard in shards)
    host.forget()
    again = start()
    assert again.download() == "opfs"
    assert host.shards() == {} and "changed" not in again.progress()[0]


def test_so_are_those_in_the_cache_api(start, host, dist, shards, tmp_path):
    assert start().download("cache") == "cache"
    start.close()
    kinds = [profile.flip, profile.zero, profile.mix]
    for shard, how in zip(shards, kinds, strict=False):
        damage(tmp_path, dist, shard, how, "cache")
    host.forget()
    one = start()
    assert one.download("cache") == "cache"
    assert host.shards() == once(shards[:len(kinds)])
    assert all(one.holds(dist, shard) for shard in shards)


def test_a_read_that_does_not_wait_for_the_load_is_right_too(start, host, dist, shards, tmp_path):
    """As with a large model, whose files are hashed while pictures are drawn."""
    start().download()
    start.close()
    damage(tmp_path, dist, shards[1], profile.flip)
    host.forget()
    one = start()
    one.open()
    assert all(one.holds(dist, shard) for shard in shards)
    assert host.shards() == once(shards[1:2])


def test_without_a_network_the_remedy_is_told(start, host, dist, shards, tmp_path):
    start().download()
    start.close()
    damage(tmp_path, dist, shards[0], profile.flip)
    damage(tmp_path, dist, shards[1], profile.zero)
    host.keep(shards[0]["file"], flaky.refuse(404))
    host.keep(shards[1]["file"], flaky.refuse(404))
    one = start()
    one.limit(firstWait=4)
    with pytest.raises(LibraryError) as caught:
        one.download()
    assert caught.value.name == "DownloadError"
    told = f"2 of {len(shards)} files of the model had changed on this device and cannot be used. "
    assert caught.value.message.startswith(told)
    host.heal()
    assert one.download() == "opfs"
    assert all(one.holds(dist, shard) for shard in shards)


def test_a_file_that_changes_while_the_page_is_open(start, host, dist, shards):
    one = start()
    one.download()
    host.forget()
    one.scope.evaluate("""async (file) => {
      const root = await navigator.storage.getDirectory();
      const handle = await (await root.getDirectoryHandle('trefoil')).getFileHandle(file);
      const access = await handle.createSyncAccessHandle();
      access.write(new Uint8Array(1000), { at: access.getSize() >> 1 });
      access.close();
    }""", shards[0]["file"])
    assert all(one.holds(dist, shard) for shard in shards)
    assert host.shards() == once(shards[:1])


@pytest.mark.parametrize("storage", ["opfs", "cache", "memory"])
def test_all_data_of_the_site_is_cleared_while_the_page_is_open(
    start, host, dist, shards, storage
):
    one = start()
    one.download(storage)
    host.forget()
    session = one.context.new_cdp_session(one.page)
    session.send("Storage.clearDataForOrigin", {"origin": host.url[:-1], "storageTypes": "all"})
    read = [shards[0], shards[-1]]
    assert all(one.holds(dist, shard) for shard in read)
    assert host.shards() == ({} if storage == "memory" else once(read))
    assert one.download(storage) == storage
    assert host.shards() == once(shards)


def test_the_studio_draws_the_right_picture_and_says_so(
    playwright, host, dist, shards, tmp_path
):
    pictures = []
    for visits in range(2):
        context = launch_profile(playwright, tmp_path / "profile")
        page = context.new_page()
        page.goto(f"{host.url}?{SMALL}&seed=7&run")
        expect(page.get_by_role("img")).to_be_visible()
        pictures.append(base64.b64decode(page.evaluate(PIXELS)))
        said = re.compile(r"1 of \d+ files had changed on this device and was fetched again")
        expect(page.locator("#model-text")).to_contain_text(said if visits else "Ready")
        context.close()
        if not visits:
            damage(tmp_path, dist, shards[0], profile.flip)
            host.forget()
    assert host.shards() == once(shards[:1])
    assert pictures[0] == pictures[1]
