"""The form: seeds, batches, earlier prompts, what is kept of it, reference images."""

import io

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.studio import GARDEN, Visit

WAKE_LOCKS = """
globalThis.wakeLocks = [];
navigator.wakeLock.request = async (kind) => {
  const lock = { kind, released: false, release: async () => { lock.released = true; } };
  wakeLocks.push(lock);
  return lock;
};
"""
SENT = """
globalThis.sent = [];
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  sent.push(message);
  return post.call(this, message, ...rest);
};
"""
REQUESTS = "sent.filter(({ type }) => type === 'generate').map(({ request }) => request)"


def drawn(studio, seed):
    expect(studio.page.locator("#facts")).to_contain_text(f"Seed {seed} ·")
    expect(studio.page.locator("body")).to_have_attribute("data-phase", "ready")


@pytest.fixture(scope="module")
def studio(browser, site, server):
    """One visit for all; each test leaves the form as it is, without reference images."""
    address = server(site(GARDEN, shard_mib=1, with_image_input=True))
    studio = Visit(browser, f"{address}?width=64&height=48&steps=50", script=WAKE_LOCKS + SENT)
    yield studio.loaded()
    studio.context.close()


@pytest.fixture
def small(studio):
    """The studio, asked for what is drawn soonest with a new seed that is not locked; what it sent
    before is forgotten."""
    for name, value in {"Width": 64, "Height": 64, "Steps": 1, "Pictures": 1}.items():
        studio.control("spinbutton", name).fill(str(value))
    studio.button("Roll the dice").click()
    studio.page.evaluate("() => { sent.length = wakeLocks.length = 0; }")
    return studio


def png(mode, colour, size=(96, 64)):
    content = io.BytesIO()
    Image.new(mode, size, colour).save(content, "PNG")
    return content.getvalue()


def test_a_picture_from_reference_images_shows_while_it_comes(studio):
    page = studio.page
    half = ("RGBA", (255, 0, 0, 0))
    files = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": png(*made)}
             for i, made in enumerate([half, ("RGB", (1, 2, 3)), half])]
    page.set_input_files("#image-files", files[:2])
    expect(page.locator("#thumbnails li")).to_have_count(2)
    page.set_input_files("#image-files", files[2:])
    assert "at most: remove one first" in studio.alert()
    expect(page.get_by_role("img")).to_have_count(0)  # thumbnails say nothing by themselves
    studio.hold(step=1)  # when the first preview is there
    studio.button("Generate").click()
    sent = f"{REQUESTS}[0].images.map((image) => "
    sent += "[image.width, image.height, ...image.rgba.slice(0, 4)])"
    assert page.evaluate(sent) == [[96, 64, 255, 255, 255, 255], [96, 64, 1, 2, 3, 255]]
    preview = page.locator("#preview")
    expect(preview).to_be_visible()
    expect(page.locator("#blank")).to_be_hidden()
    expect(page.get_by_role("img")).to_have_count(0)
    width, height, colours = preview.evaluate("""(canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return [canvas.width, canvas.height, new Set(new Uint32Array(data.buffer)).size];
    }""")
    assert (width, height) == (8, 6) and colours > 10
    studio.button("Cancel").click()
    expect(preview).to_be_hidden()
    expect(page.locator("#blank")).to_be_visible()
    studio.button("Remove reference image 1").click()
    expect(page.locator("#thumbnails li")).to_have_count(1)
    expect(studio.button("Choose…")).to_be_focused()
    page.set_input_files("#image-files", [{"name": "notes.png", "mimeType": "image/png",
                                           "buffer": b"no picture"}])
    assert "notes.png cannot be read as a picture" in studio.alert()
    studio.let_go()
    studio.button("Remove reference image 1").click()
    expect(page.locator("#thumbnails li")).to_have_count(0)


def test_a_batch_takes_seeds_in_a_row_and_the_next_picture_a_new_one_unless_locked(small):
    studio, page = small, small.page
    seed = studio.control("spinbutton", "Seed")
    lock = studio.button("Lock the seed")
    expect(lock).to_have_attribute("aria-pressed", "false")
    first, before = int(seed.input_value()), page.locator("#thumbs li").count()
    studio.control("spinbutton", "Pictures").fill("2")
    studio.hold("encode")
    studio.control("textbox", "Prompt").press("Control+Enter")
    for _ in range(3):
        page.keyboard.press("Control+Enter")  # one picture at a time, whatever is pressed
    expect(page.locator("#draw-text")).to_contain_text("Picture 1 of 2")
    studio.let_go(last=False)
    expect(page.locator("#draw-text")).to_contain_text("Picture 2 of 2")
    assert page.evaluate("wakeLocks.map(({ released }) => released)") == [False]
    studio.let_go()
    drawn(studio, first + 1)
    assert page.evaluate("wakeLocks.map(({ released }) => released)") == [True]
    assert [asked["seed"] for asked in page.evaluate(REQUESTS)] == [first, first + 1]
    expect(page.locator("#thumbs li")).to_have_count(before + 2)
    expect(seed).to_have_value(str(first))

    studio.control("spinbutton", "Pictures").fill("1")
    studio.control("textbox", "Prompt").fill("a green tree")
    studio.button("Generate").click()
    expect(seed).not_to_have_value(str(first))
    drawn(studio, seed.input_value())
    seed.fill("9007199254740991")
    expect(lock).to_have_attribute("aria-pressed", "true")
    studio.control("spinbutton", "Pictures").fill("2")
    studio.button("Generate").click()
    assert "the last one may be 9007199254740991 at most" in studio.alert()
    studio.control("spinbutton", "Pictures").fill("1")
    for _ in range(2):
        studio.button("Generate").click()
        drawn(studio, 9007199254740991)
    assert [asked["seed"] for asked in page.evaluate(REQUESTS)][3:] == [9007199254740991] * 2
    studio.button("Roll the dice").click()
    expect(lock).to_have_attribute("aria-pressed", "false")
    expect(seed).not_to_have_value("9007199254740991")
    assert studio.logged == []


def test_earlier_prompts_and_settings_are_there_again_after_a_reload(small):
    studio, page = small, small.page
    prompt = studio.control("textbox", "Prompt")
    studio.control("spinbutton", "Seed").fill("5")
    prompt.fill("a red tree")
    studio.button("Generate").click()
    drawn(studio, 5)
    prompt.fill("a white tree")
    studio.button("Generate").click()
    expect(studio.page.get_by_role("img")).to_have_attribute("alt", "a white tree")
    drawn(studio, 5)
    prompt.fill("half a thou")
    page.get_by_text("Earlier prompts").click()
    earlier = page.locator(".earlier-prompt").all_inner_texts()
    assert earlier[:2] == ["a white tree", "a red tree"]
    up = [("Up", shown) for shown in [*earlier, earlier[-1]]]
    down = [("Down", shown) for shown in [*earlier[-2::-1], "half a thou"]]
    for key, shown in up + down:
        prompt.press(f"Alt+Arrow{key}")
        expect(prompt).to_have_value(shown)
    page.locator("#earlier-list").get_by_role("button", name="a red tree").click()
    expect(prompt).to_have_value("a red tree")
    studio.button("Take the model's own 4").click()
    expect(studio.control("spinbutton", "Steps")).to_have_value("4")
    studio.control("spinbutton", "Steps").fill("3")
    page.get_by_text("Advanced").click()
    studio.control("combobox", "Text tokens").select_option("trimmed")
    studio.control("combobox", "Memory").select_option("small")
    expect(page.get_by_text("prepared anew with the next picture")).to_be_visible()
    studio.control("combobox", "Theme").select_option("dark")
    wall = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(wall) == "rgb(18, 22, 19)"

    page.goto(page.url.split("?")[0])
    studio.loaded()
    assert page.evaluate(wall) == "rgb(18, 22, 19)"
    expect(studio.control("combobox", "Theme")).to_have_value("dark")
    expect(prompt).to_have_value("a red tree")
    for name, value in {"Width": 64, "Height": 64, "Seed": 5, "Steps": 3}.items():
        expect(studio.control("spinbutton", name)).to_have_value(str(value))
    expect(page.locator("#memory")).to_have_value("small")
    expect(page.locator("#textTokens")).to_have_value("trimmed")
    expect(page.locator("#stale")).to_be_hidden()
    assert studio.logged == []
