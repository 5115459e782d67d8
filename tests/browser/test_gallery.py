"""The gallery: what is kept, listed, deleted and downloaded."""

import io
import re
import zipfile

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.kept import names, paint, press, settings, thumbs, toast, viewer, visits
from tests.browser.test_page import GARDEN, Visit
from tests.dist import located

FOCUSED = "document.activeElement.ariaLabel ?? document.activeElement.id"


@pytest.fixture(scope="module")
def url(site, server):
    return server(site(GARDEN, shard_mib=1))


@pytest.fixture
def visit(plain, url):
    with visits(plain, url) as visit:
        yield visit


def test_a_drawn_picture_is_kept_and_drawn_again_with_another_seed(browser, url, tmp_path):
    prompt = "a maple: red, день"
    studio = Visit(browser, f"{url}?prompt={prompt}&seed=7&width=64&height=64&steps=1&run")
    page = studio.page
    expect(thumbs(page)).to_have_count(1)
    thumbs(page).click()
    viewer(page).get_by_role("button", name="Vary").click()
    expect(viewer(page)).to_be_hidden()
    expect(thumbs(page)).to_have_count(2)
    expect(page.get_by_role("img")).to_have_count(1)  # the picture: thumbnails are buttons
    assert names(page) == [prompt, prompt]
    thumbs(page).first.click()
    facts = viewer(page).inner_text()
    assert int(re.search(r"Seed\s+(\d+)", facts)[1]) != 7
    assert "64 × 64" in facts and "f32" in facts and "On this device" in facts
    page.reload()
    expect(thumbs(page)).to_have_count(2)
    thumbs(page).last.click()
    expect(viewer(page)).to_have_accessible_name(prompt)
    expect(viewer(page).get_by_role("img")).to_have_attribute("alt", prompt)
    with page.expect_download() as download:
        viewer(page).get_by_role("button", name="Download PNG").click()
    download.value.save_as(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        image.load()
        assert len(set(image.convert("RGB").get_flattened_data())) > 100
        assert image.info["parameters"] == (
            f"{prompt}\nSteps: 1, Sampler: Euler, CFG scale: 1, Seed: 7, Size: 64x64, "
            f"Model: {GARDEN.name}, Version: Trefoil 0.1.0"
        )
    assert {made for made in studio.requested if "maple" in made} == {page.url}
    assert studio.logged == []
    studio.context.close()


def test_the_keyboard_moves_opens_deletes_and_brings_back(visit):
    studio = visit(*[settings(seed) for seed in range(30)])
    page = studio.page
    newest_first = [f"picture {seed}" for seed in reversed(range(30))]
    assert names(page) == newest_first[:24]
    assert thumbs(page).evaluate_all("(all) => all.filter((one) => one.tabIndex === 0).length") == 1
    page.get_by_role("button", name="Clear gallery").focus()
    press(page, "Tab", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert page.evaluate(FOCUSED) == "picture 28"
    press(page, "ArrowDown")
    below = int(page.evaluate(FOCUSED).split()[1])
    assert below < 27
    press(page, "ArrowUp", "End", "ArrowRight")
    assert page.evaluate(FOCUSED) == "picture 6"
    press(page, "Home", "Enter")
    expect(viewer(page)).to_have_accessible_name("picture 29")
    press(page, "ArrowLeft", "ArrowRight")
    expect(viewer(page)).to_have_accessible_name("picture 28")
    expect(page.locator("#viewer-live")).to_have_text("Picture 2 of 30: picture 28")
    press(page, "Escape")
    expect(viewer(page)).to_be_hidden()
    assert page.evaluate(FOCUSED) == "picture 28"
    press(page, "Delete")
    expect(thumbs(page).first).to_have_accessible_name("picture 29")
    expect(thumbs(page).nth(1)).to_have_accessible_name("picture 27")
    assert page.evaluate(FOCUSED) == "picture 27"
    expect(page.locator("#live")).to_have_text(re.compile("The picture was deleted. Undo"))
    press(page, "Delete")
    expect(toast(page)).to_have_text("2 pictures were deleted.")
    page.get_by_role("button", name="Undo").click()
    expect(thumbs(page).nth(2)).to_have_accessible_name("picture 27")
    assert names(page) == newest_first[:24]
    press(page, "Enter", "Delete")  # the last that came back has the focus
    expect(viewer(page)).to_have_accessible_name("picture 26")
    viewer(page).get_by_role("button", name="Undo").click()
    expect(viewer(page)).to_have_accessible_name("picture 27")
    press(page, "Escape")
    page.get_by_role("button", name="Show all 30").click()
    page.reload()
    expect(thumbs(page)).to_have_count(30)
    assert names(page) == newest_first
    assert studio.logged == []


def test_all_are_downloaded_as_one_zip_and_cleared_when_that_is_confirmed(visit, tmp_path):
    same = settings(5, prompt="Same, день")
    studio = visit(same, same | {"prompt": "same, день"}, settings(6))
    page = studio.page
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    assert download.value.suggested_filename == "trefoil-gallery.zip"
    download.value.save_as(tmp_path / "all.zip")
    expect(toast(page)).to_have_text("3 pictures packed.")
    with zipfile.ZipFile(tmp_path / "all.zip") as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [
            "picture-6-seed-6.png", "same-день-seed-5.png", "same-день-seed-5 (2).png",
        ]
        for member in packed.infolist():
            assert member.compress_type == zipfile.ZIP_STORED
            with Image.open(io.BytesIO(packed.read(member))) as image:
                image.load()
                assert image.size == (64, 48)
                seed = re.search(r"seed-(\d)", member.filename)[1]
                assert f'Seed: {seed}, Size: 64x48, Model: "painted: by' in image.info["parameters"]
                assert f'"seed":{seed},' in image.info["trefoil"]
    clear = page.get_by_role("button", name="Clear gallery")
    clear.click()
    expect(viewer(page)).to_have_accessible_name(re.compile("Delete all 3 pictures"))
    expect(viewer(page).get_by_role("button", name="Keep them")).to_be_focused()
    press(page, "Escape")
    expect(clear).to_be_focused()
    clear.click()
    viewer(page).get_by_role("button", name="Delete all").click()
    expect(thumbs(page)).to_have_count(0)
    expect(page.get_by_role("heading", name="Gallery")).to_be_focused()
    expect(clear).to_be_hidden()
    page.reload()
    expect(page.get_by_text("Pictures that you draw are kept here")).to_be_visible()
    assert (
        page.evaluate("""async () => {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle('trefoil-gallery');
      return (await Array.fromAsync(folder.keys())).length;
    }""")
        == 0
    )
    assert studio.logged == []


def test_two_tabs_keep_each_others_pictures_and_follow_each_other(visit, url):
    studio = visit(settings(0))
    first = studio.page
    second = studio.context.new_page()
    second.goto(url)
    expect(thumbs(second)).to_have_count(1)
    script = """(seeds) => { window.adding = (async () => {
      const { openGallery } = await import('./code/studio/gallery/store.js');
      const store = await openGallery();
      const settings = (seed) => ({ prompt: `tab ${seed}`, seed, width: 1, height: 1, steps: 1 });
      await Promise.all(seeds.map((seed) => store.add({
        blob: new Blob(['x']), thumbnail: new Blob(['x']), settings: settings(seed) })));
    })(); }"""
    script = located(script, url)
    first.evaluate(script, list(range(10, 20)))
    second.evaluate(script, list(range(20, 30)))
    for page in (first, second):
        page.evaluate("window.adding")
        expect(thumbs(page)).to_have_count(21)
    assert sorted(names(first)) == sorted(names(second))
    press_first = thumbs(first).last
    press_first.click()
    expect(viewer(first)).to_have_accessible_name("picture 0")
    thumbs(second).last.focus()
    press(second, "Delete")
    expect(viewer(first)).to_be_hidden()
    expect(thumbs(first)).to_have_count(20)


def add(page, pictures):
    """Keeps one painted picture so many times, under these settings."""
    paint(page, pictures[0])
    page.evaluate(located("""async (pictures) => {
      const { openGallery } = await import('./code/studio/gallery/store.js');
      const store = await openGallery();
      const [{ id }] = await store.list();
      const [blob, thumbnail] = [await store.file(id), await store.thumbnail(id)];
      for (const settings of pictures) await store.add({ blob, thumbnail, settings });
    }""", page.url), pictures[1:])


def test_five_hundred_pictures_are_listed_at_once_and_read_when_they_are_near(visit, url):
    studio = visit()
    page = studio.page
    page.goto(url + "manifest.webmanifest")  # a page that does not follow each of them
    add(page, [settings(seed, width=16, height=16) for seed in range(500)])
    page.evaluate("localStorage.clear()")
    studio.logged.clear()  # that page has no icon
    page.goto(url)
    expect(page.get_by_text("500 pictures", exact=True)).to_be_visible()
    expect(thumbs(page)).to_have_count(24)
    page.get_by_role("button", name="Show all 500").click()
    expect(thumbs(page)).to_have_count(500)
    read = page.locator("#thumbs img[src]")
    expect(read.first).to_be_visible()
    assert read.count() < 250
    thumbs(page).last.scroll_into_view_if_needed()
    expect(page.locator("#thumbs li:last-child img[src]")).to_be_visible()
    assert studio.logged == []


def test_a_full_disk_keeps_the_newest_in_memory_and_says_so(visit, url):
    studio = visit(settings(1))
    page = studio.page
    quota = studio.context.new_cdp_session(page)
    origin = url.rstrip("/")
    quota.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 1})
    kept = page.evaluate(located("""async () => {
      const { openGallery } = await import('./code/studio/gallery/store.js');
      const store = await openGallery();
      const settings = { prompt: 'too much', seed: 1, width: 1, height: 1, steps: 1 };
      const blob = new Blob(['picture']);
      const { id, kept } = await store.add({ blob, thumbnail: blob, settings });
      const { set } = await import('./code/studio/gallery/state.js');
      const entries = await store.list();
      set({ entries });
      const listed = entries.map((entry) => [entry.settings.prompt, entry.kept]);
      return { kept, listed, text: await (await store.file(id)).text() };
    }""", url))
    assert kept == {
        "kept": False, "listed": [["too much", False], ["picture 1", True]], "text": "picture",
    }
    expect(page.get_by_text("The browser had no room for the newest pictures")).to_be_visible()


def test_what_a_closed_tab_left_incomplete_is_not_listed_and_swept_after_a_day(visit, url):
    page = visit(settings(1), settings(2)).page
    left = page.evaluate(located("""async () => {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle('trefoil-gallery');
      const write = async (name, text) => {
        const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
        await stream.write(text);
        await stream.close();
      };
      const names = await Array.fromAsync(folder.keys());
      const first = names.find((name) => name.endsWith('.json'));
      await folder.removeEntry(first.replace('.json', '.thumbnail'));
      await write('1700000000009-a.png', 'x');
      await write(`${Date.now()}-b.png`, 'x');
      await write('1700000000008-c.json', '{');
      const { openGallery } = await import('./code/studio/gallery/store.js');
      const store = await openGallery();
      const prompts = (await store.list()).map(({ settings }) => settings.prompt);
      const removed = await store.remove(first.replace('.json', ''));
      const kept = (await Array.fromAsync(folder.keys())).map((name) => name.split('-')[1]);
      return { prompts, removed, kept: kept.filter((name) => name.length < 8).sort() };
    }""", url))
    assert left == {
        "prompts": ["picture 2", "picture 1"], "removed": None, "kept": ["b.png", "c.json"],
    }
    page.reload()
    expect(thumbs(page)).to_have_count(1)
