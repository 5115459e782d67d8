"""The studio, used as a visitor uses it: the real Garden model on the real engine."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.studio import SMALL, Visit, damaged, tell_page

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
LARGEST_SEED = 2**53 - 1
CONTROLS = [
    ("textbox", "Prompt"),
    ("combobox", "Size"),
    ("spinbutton", "Width"),
    ("spinbutton", "Height"),
    ("spinbutton", "Seed"),
    ("spinbutton", "Steps"),
    ("button", "Generate"),
    ("button", "Cancel"),
    ("button", "Download PNG"),
    ("progressbar", "Model download"),
    ("progressbar", "Drawing"),
]
PROMPT = "a red bonsai in a blue pot, день"


# ---- one visit, which draws ---------------------------------------------------------------------

@pytest.fixture(scope="module")
def studio(browser, url):
    studio = Visit(browser, f"{url}?prompt={PROMPT}&seed={LARGEST_SEED}&width=96&height=64&steps=3"
                   "&run")
    yield studio
    studio.context.close()


def test_run_draws_what_the_query_asks_for(studio, url, tmp_path):
    expect(studio.control("textbox", "Prompt")).to_have_value(PROMPT)
    for name, value in {"Seed": LARGEST_SEED, "Width": 96, "Height": 64, "Steps": 3}.items():
        expect(studio.control("spinbutton", name)).to_have_value(str(value))
    picture = studio.picture()
    expect(picture).to_have_attribute("alt", PROMPT)
    assert picture.evaluate("(img) => [img.naturalWidth, img.naturalHeight]") == [96, 64]
    expect(studio.page.locator("#facts")).to_have_text(f"Seed {LARGEST_SEED} · 96 × 64 · 3 steps")
    timings = studio.page.locator("#timings").inner_text()
    for name in ("Encode", "Steps", "3 ×", "Decode", "Total", "Peak GPU memory", "MB"):
        assert name in timings
    with studio.page.expect_download() as download:
        studio.button("Download PNG").click()
    assert download.value.suggested_filename.endswith(f"-seed-{LARGEST_SEED}.png")
    download.value.save_as(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        image.load()
        assert image.size == (96, 64)
        assert len(set(image.convert("RGB").get_flattened_data())) > 100
        assert image.info["parameters"].startswith(f"{PROMPT}\nSteps: 3, ")
        made = f"Seed: {LARGEST_SEED}, Size: 96x64, Model: {GARDEN.name}"
        assert made in image.info["parameters"]
    assert studio.logged == []
    assert [made for made in studio.requested if not made.startswith((url, f"blob:{url}"))] == []
    assert any(made.endswith(".bin") for made in studio.requested)
    assert len([made for made in studio.requested if "bonsai" in made]) == 1  # the page's own
    assert not any("bonsai" in referer for referer in studio.referers if referer)


def test_after_a_cancel_a_second_picture_is_drawn_and_a_long_prompt_is_said_to_be_cut(studio):
    studio.loaded()
    kept = studio.page.locator("#thumbs li")
    before = kept.count()
    studio.control("spinbutton", "Steps").fill("50")
    studio.hold(step=1)
    studio.button("Generate").click()
    expect(studio.page.get_by_text("Step 2 of 50")).to_be_visible()
    expect(studio.button("Generate")).to_be_disabled()
    studio.button("Cancel").click()
    expect(studio.button("Generate")).to_be_enabled()
    studio.let_go()
    expect(studio.button("Cancel")).to_be_disabled()
    expect(kept).to_have_count(before)
    expect(studio.page.get_by_role("alert")).to_be_hidden()
    prompt = " ".join(["a red maple in a blue pot under the moon"] * 12)
    studio.control("textbox", "Prompt").fill(prompt)
    studio.control("combobox", "Size").select_option("custom")
    for name, value in {"Width": 64, "Height": 64, "Steps": 1}.items():
        studio.control("spinbutton", name).fill(str(value))
    studio.button("Generate").click()
    expect(studio.picture()).to_have_attribute("alt", prompt)
    expect(kept).to_have_count(before + 1)
    expect(studio.page.locator("#dropped")).to_have_text(
        re.compile(r"The prompt has \d+ tokens and the model reads \d+: the last \d+ were left out")
    )
    told = re.findall(r"\d+", studio.page.locator("#dropped").text_content())
    assert int(told[0]) == int(told[1]) + int(told[2])
    assert studio.logged == []


def test_the_keyboard_alone_reaches_everything_draws_and_cancels(studio):
    studio.loaded().page.mouse.click(1, 1)  # from where the first Tab sets out
    press = studio.page.keyboard.press
    focused = []
    for _ in range(40):
        press("Tab")
        focused.append(studio.page.evaluate("document.activeElement.id"))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        if focused[-1]:
            assert studio.page.evaluate(outline) == "solid", f"{focused[-1]} shows no focus"
        if focused[-1] == "cancel":
            break
    order = ["prompt", "generate", "size", "width", "height", "seed", "steps", "save", "cancel"]
    assert [name for name in focused if name in order] == order
    while studio.page.evaluate("document.activeElement.id") != "prompt":
        press("Shift+Tab")
    press("Control+A")
    studio.page.keyboard.type("a white tree at night")
    for field, value in (("width", "64"), ("height", "64"), ("steps", "50")):
        while studio.page.evaluate("document.activeElement.id") != field:
            press("Tab")
        press("Control+A")
        studio.page.keyboard.type(value)
    studio.hold(step=1)
    press("Control+Enter")
    expect(studio.page.get_by_text("Step 2 of 50")).to_be_visible()
    press("Escape")
    expect(studio.button("Generate")).to_be_enabled()
    studio.let_go()
    studio.control("spinbutton", "Steps").focus()
    press("Control+A")
    studio.page.keyboard.type("1")
    press("Enter")
    expect(studio.picture()).to_have_attribute("alt", "a white tree at night")
    assert studio.logged == []


# ---- one visit, which waits to be asked before it loads -----------------------------------------

@pytest.fixture(scope="module")
def large(browser, dist, server, tmp_path_factory):
    copy = damaged(dist, tmp_path_factory.mktemp("large"),
                   lambda folder: tell_page(folder, bytes=2_700_000_000))
    large = Visit(browser, f"{server(copy)}?width=130&{SMALL[9:]}")
    yield large
    large.context.close()


def test_every_control_has_its_name_and_nothing_is_wider_than_a_small_phone(large):
    for role, name in CONTROLS:
        expect(large.control(role, name)).to_be_visible()
    for width in (320, 768, 1280):
        large.page.set_viewport_size({"width": width, "height": 640})
        assert large.page.evaluate("document.documentElement.scrollWidth") <= width
    large.page.set_viewport_size({"width": 1280, "height": 860})
    sides = large.page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea, summary')]"
        ".filter((e) => e.offsetParent).map((e) => [e.id, e.offsetWidth, e.offsetHeight])"
    )
    assert len(sides) > 10
    assert [side for side in sides if min(side[1:]) < 24] == []
    assert large.logged == []


def test_wrong_fields_are_told_in_a_sentence_and_right_ones_are_not(large):
    expect(large.page.get_by_role("alert")).to_be_hidden()
    large.button("Generate").click()
    assert "The width is 130, which is not a multiple of 16: use 128 or 144." in large.alert()
    expect(large.control("spinbutton", "Width")).to_be_focused()
    expect(large.control("combobox", "Size")).to_have_value("custom")
    large.control("combobox", "Size").select_option(index=0)
    expect(large.page.get_by_role("alert")).to_be_hidden()
    wrong = {"Seed": (str(LARGEST_SEED + 1), "9007199254740991"), "Steps": ("51", "from 1 to 50")}
    for name, (value, told) in wrong.items():
        field = large.control("spinbutton", name)
        field.fill(value)
        large.button("Generate").click()
        assert told in large.alert()
        expect(field).to_have_attribute("aria-invalid", "true")
        field.fill("1")
        expect(large.page.get_by_role("alert")).to_be_hidden()
    large.control("textbox", "Prompt").fill("  ")
    large.button("Generate").click()
    assert "The prompt is empty" in large.alert()
    assert large.logged == []


def test_a_large_model_is_fetched_only_when_asked_for(large):
    press = large.button("Load model (2.7 GB)")
    expect(press).to_be_visible()
    assert not any("/model/" in made for made in large.requested)
    with large.page.context.expect_event("request", lambda made: made.url.endswith(".bin")):
        press.click()
    assert large.logged == []


# ---- visits of their own ------------------------------------------------------------------------

def largest_shard(folder):
    """Of those that a first picture needs."""
    shards = json.loads((folder / "model" / "manifest.json").read_text(encoding="utf-8"))["shards"]
    first = [shard for shard in shards if not shard.get("onDemand")]
    largest = max(first, key=lambda shard: shard["bytes"])
    return folder / "model" / largest["file"]


def projections_of(folder):
    """The shards that a schedule without a table needs, as the manifest has them."""
    manifest = json.loads((folder / "model" / "manifest.json").read_text(encoding="utf-8"))
    names = manifest["schedules"]["projections"]
    indices = {shard for name in names for shard, _, _ in manifest["tensors"][name]["data"]}
    return [manifest["shards"][index] for index in sorted(indices)]


def lengthen_projections(folder):
    """Appends 70 million zeros to one of their shards, which the tensors do not reach."""
    old = projections_of(folder)[0]
    content = (folder / "model" / old["file"]).read_bytes() + bytes(70_000_000)
    digest = hashlib.sha256(content).hexdigest()
    new = old | {"file": f"{digest}.bin", "sha256": digest, "bytes": len(content)}
    (folder / "model" / new["file"]).write_bytes(content)
    path = folder / "model" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["shards"][manifest["shards"].index(old)] = new
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_wrong_and_missing_files_are_named_and_what_another_schedule_takes_is_told_before_it_comes(
    visit, dist, server, tmp_path
):
    name = largest_shard(dist).name

    def flip(folder):
        shard = folder / "model" / name
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
        lengthen_projections(folder)

    copy = damaged(dist, tmp_path, flip)
    studio = visit(server(copy) + "?run")
    assert f"{name} is damaged" in studio.alert()
    again = studio.page.get_by_role("button", name="Load model")
    (copy / "model" / name).unlink()
    again.click()
    expect(studio.page.get_by_role("alert")).to_contain_text(
        "the server answered 404"
    )
    assert name in studio.alert()
    expect(studio.page.get_by_role("img")).to_have_count(0)
    shutil.copyfile(dist / "model" / name, copy / "model" / name)
    again.click()
    studio.loaded()
    expect(studio.page.get_by_role("alert")).to_be_hidden()
    studio.logged.clear()

    files = {shard["file"] for shard in projections_of(copy)}
    megabytes = round(sum(shard["bytes"] for shard in projections_of(copy)) / 1e6)
    note = studio.page.locator("#extra")
    expect(note).to_be_hidden()
    studio.control("combobox", "Size").select_option("custom")
    for name, value in {"Width": 64, "Height": 48, "Steps": 2}.items():
        studio.control("spinbutton", name).fill(str(value))
    expect(note).to_have_text(f"This size and number of steps need {megabytes} MB more of the "
                              "model, which Generate downloads first.")
    expect(studio.button("Generate")).to_have_accessible_description(note.inner_text())
    studio.control("combobox", "Size").select_option(index=0)
    expect(note).to_be_hidden()
    studio.control("combobox", "Size").select_option("custom")
    studio.control("spinbutton", "Width").fill("64")
    expect(note).to_be_visible()
    assert not any(made.endswith(tuple(files)) for made in studio.requested)
    studio.button("Generate").click()
    studio.picture()
    assert {made.rsplit("/", 1)[1] for made in studio.requested} >= files
    expect(note).to_be_hidden()
    assert studio.logged == []


def test_without_a_graphics_adapter_the_page_says_why_and_downloads_nothing(plain, url):
    studio = Visit(plain, f"{url}?prompt=a+tree&run")
    told = studio.alert()
    assert "adapter" in told and "chrome://gpu" in told
    for role, name in CONTROLS:
        expect(studio.control(role, name)).to_be_visible()
    expect(studio.control("textbox", "Prompt")).to_have_value("a tree")
    expect(studio.button("Generate")).to_be_disabled()
    studio.button("Generate").click(force=True)
    assert not any("/model/" in made for made in studio.requested)


def test_a_lost_device_is_told_and_a_reload_draws_again(own_browser, url):
    studio = Visit(own_browser, f"{url}?{SMALL}").loaded()
    studio.hold(step=1)
    studio.button("Generate").click()
    expect(studio.page.get_by_text("Step 2 of 2")).to_be_visible()
    own_browser.new_browser_cdp_session().send("Browser.crashGpuProcess")
    assert len(studio.alert().split()) > 5
    expect(studio.button("Generate")).to_be_disabled()
    studio.control("spinbutton", "Steps").fill("1")
    studio.button("Reload").click()
    studio.loaded()
    studio.button("Generate").click()
    studio.picture()
    expect(studio.page.get_by_role("alert")).to_be_hidden()
