"""What fails on the page's side ends in a sentence, and what was drawn is kept."""

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser import faults
from tests.browser.studio import SMALL, Visit
from tests.conftest import LAST_RESORT_MS
from tests.dist import code_url

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
FORM = "prompt=a+pine&seed=7&width=64&height=48&steps=1"

# spoil({ offscreen, bitmap, convert, context, stream }) takes these from the page or worker, and
# gives back what the last call took; untell() ends the time for which something is told.
SPOIL = """
() => {
  const { OffscreenCanvas, HTMLCanvasElement, createImageBitmap, CompressionStream } = globalThis;
  const whole = { OffscreenCanvas, createImageBitmap, CompressionStream };
  const canvases = [OffscreenCanvas, HTMLCanvasElement].filter(Boolean)
    .map(({ prototype }) => [prototype, Object.getOwnPropertyDescriptors(prototype)]);
  globalThis.spoil = ({ offscreen, bitmap, convert, context, stream }) => {
    Object.assign(globalThis, whole);
    for (const canvas of canvases) Object.defineProperties(...canvas);
    if (offscreen) delete globalThis.OffscreenCanvas;
    if (bitmap) globalThis.createImageBitmap = () => Promise.reject(new Error('no bitmaps here'));
    if (stream) delete globalThis.CompressionStream;
    for (const [prototype] of canvases) {
      if (convert === 'null') {
        if (prototype.toBlob) prototype.toBlob = (done) => done(null);
        else prototype.convertToBlob = async () => null;
      }
      if (convert === 'reject' && prototype.convertToBlob) {
        prototype.convertToBlob = () => Promise.reject(new Error('no encoder'));
      }
      if (context) prototype.getContext = () => null;
    }
  };
  const wait = setTimeout;
  globalThis.setTimeout = (act, ms, ...rest) => {
    if (ms === 12000) globalThis.untell = act;
    return wait(act, ms, ...rest);
  };
}
"""
SHRUNK = {"no OffscreenCanvas": {"offscreen": True}, "no createImageBitmap": {"bitmap": True}}
UNSHRUNK = {
    "no encoder": {"convert": "reject"},
    "null": {"convert": "null"},
    "null of a canvas of the page": {"convert": "null", "offscreen": True},
    "no context": {"context": True},
}


@pytest.fixture(scope="module")
def url(site, server):
    return server(site(GARDEN))


@pytest.fixture
def visit_wrapped(browser):
    """visit_wrapped(address, script, argument) -> a Visit whose page and worker are wrapped."""
    visits = []

    def open_page(address, script, argument=None):
        visits.append(Visit(browser, address, prepare=lambda context: (
            faults.wrap_worker(context, script, argument))))
        return visits[-1]

    yield open_page
    for one in visits:
        one.context.close()


# ---- one visit ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def studio(browser, url):
    script = f"() => {{ ({SPOIL})(); ({faults.DROPPING})(); }}"
    studio = Visit(browser, f"{url}?{FORM}", prepare=lambda context: (
        faults.wrap_worker(context, script)))
    yield studio.loaded()
    studio.context.close()


@pytest.fixture
def spoil(studio):
    """spoil(how) until the test is over, in the page and its worker."""
    def both(how):
        for place in (studio.page, studio.page.workers[0]):
            place.evaluate("(how) => spoil(how)", how)

    studio.logged.clear()
    yield both
    both({})
    studio.page.evaluate("() => globalThis.untell?.()")


def test_a_failure_that_nobody_waits_for_is_told(studio):
    studio.page.evaluate("() => { Promise.reject(new Error('the disk is on fire')); }")
    assert "the disk is on fire." in studio.alert()
    expect(studio.button("Generate")).to_be_enabled()


def test_a_device_that_goes_wrong_is_told_and_the_safe_kernels_draw_the_same_seed(studio):
    worker = studio.page.workers[0]
    worker.evaluate("() => { globalThis.faulty = true; }")
    studio.button("Generate").click()
    expect(studio.page.get_by_role("alert")).to_contain_text("safe kernels")
    expect(studio.page.get_by_role("img")).to_have_count(0)
    expect(studio.page.locator("#gallery-count")).to_have_text("")
    worker.evaluate("() => { globalThis.faulty = false; }")
    studio.button("Draw with the safe kernels").click()
    expect(studio.picture()).to_have_attribute("alt", "a pine")
    expect(studio.page.locator("#facts")).to_contain_text("Seed 7 ·")
    expect(studio.page.get_by_role("alert")).to_be_hidden()
    expect(studio.page.locator("#gallery-count")).to_have_text("1 picture")


@pytest.mark.parametrize("name", SHRUNK | UNSHRUNK)
def test_without_a_canvas_the_picture_is_drawn_kept_and_downloaded(studio, spoil, tmp_path, name):
    spoil((SHRUNK | UNSHRUNK)[name])
    kept = studio.page.locator("#thumbs li")
    before = kept.count()
    studio.button("Generate").click()
    expect(kept).to_have_count(before + 1)
    expect(studio.picture()).to_have_attribute("alt", "a pine")
    told = studio.page.locator("#toast-text")
    expect(told).to_have_text("" if name in SHRUNK else re.compile("made no small copy"))
    with studio.page.expect_download() as download:
        studio.button("Download PNG").click()
    download.value.save_as(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        image.load()
        assert image.size == (64, 48) and image.info["parameters"].startswith("a pine\n")
        assert len(set(image.convert("RGB").get_flattened_data())) > 100
    expect(studio.page.get_by_role("alert")).to_be_hidden()
    assert studio.logged == []


def test_where_nothing_writes_a_png_it_is_said_and_drawing_goes_on(studio, spoil):
    spoil({"convert": "reject", "stream": True})
    studio.button("Generate").click()
    assert "could not write it as a PNG" in studio.alert()
    expect(studio.button("Generate")).to_be_enabled()
    expect(studio.button("Cancel")).to_be_disabled()
    expect(studio.page.locator("#draw-text")).not_to_contain_text("Developing")


def test_the_page_packs_the_pixels_that_a_canvas_would(studio, url):
    assert studio.page.evaluate("""async (code) => {
      const { packPixels } = await import(new URL('studio/png.js', code));
      const [width, height] = [37, 5];
      const rgba = Uint8ClampedArray.from({ length: 4 * width * height },
        (_, i) => (i % 4 === 3 ? 255 : i * i * 31 % 256));
      const bitmap = await createImageBitmap(await packPixels({ rgba, width, height }));
      const context = new OffscreenCanvas(width, height).getContext('2d');
      context.drawImage(bitmap, 0, 0);
      const read = context.getImageData(0, 0, width, height).data;
      return bitmap.width === width && bitmap.height === height
        && read.every((value, i) => value === rgba[i]);
    }""", code_url(url))


# ---- visits of their own ------------------------------------------------------------------------

# The first answer does not come, later ones do; all patience is over at once.
LATE = """
() => {
  const wait = setTimeout;
  globalThis.setTimeout = (act, ms, ...rest) => wait(act, ms === PATIENCE ? 50 : ms, ...rest);
  if (!globalThis.GPU) return;
  const request = GPU.prototype.requestAdapter;
  let asked = 0;
  GPU.prototype.requestAdapter = function (options) {
    return asked++ ? request.call(this, options) : new Promise(() => {});
  };
}
""".replace("PATIENCE", str(LAST_RESORT_MS))


def test_a_device_that_does_not_answer_is_told_and_may_be_waited_for(visit_wrapped, url):
    studio = visit_wrapped(url, LATE)
    assert "This device's graphics do not answer." in studio.alert()
    expect(studio.button("Draw with the processor")).to_be_hidden()
    studio.button("Wait on").click()
    studio.loaded()
    expect(studio.page.get_by_role("alert")).to_be_hidden()


def test_or_the_processor_draws_where_the_site_has_graphs(visit_wrapped, site, server):
    studio = visit_wrapped(f"{server(site(GARDEN, onnx=True))}?prompt=a+pine&{SMALL}", LATE)
    assert "do not answer" in studio.alert()
    expect(studio.button("Wait on")).to_be_visible()
    studio.button("Draw with the processor").click()
    expect(studio.picture()).to_have_attribute("alt", "a pine")
    assert any("/onnx/" in made for made in studio.requested)
    expect(studio.page.get_by_role("alert")).to_be_hidden()


HANGING = """
() => {
  if (!globalThis.GPUDevice) return;
  GPUDevice.prototype.createComputePipelineAsync = () => new Promise(() => {});
}
"""


def test_kernels_that_compile_for_ever_are_told_and_can_be_left(visit_wrapped, url):
    studio = visit_wrapped(url, HANGING)
    told = re.compile(r"Preparing the graphics, kernel \d+ of \d\d")
    for button, phase in [("Pause", "paused"), ("Resume", "loading"), ("Cancel", "idle")]:
        if phase != "loading":
            expect(studio.page.locator("#model-text")).to_have_text(told)
        studio.button(button).click()
        expect(studio.page.locator("body")).to_have_attribute("data-phase", phase)
        expect(studio.page.get_by_role("alert")).to_be_hidden()


def test_a_frame_that_is_shut_off_says_so_and_links_to_its_own_tab(browser, url):
    page = browser.new_page()
    frame = '<iframe sandbox="allow-scripts" src="{}" width="900" height="700"></iframe>'
    page.route("**/around.html", lambda route: route.fulfill(
        body=frame.format(url), content_type="text/html"))
    page.goto(f"{url}around.html")
    inside = page.frame_locator("iframe")
    expect(inside.locator("#hint")).to_contain_text("sandbox without allow-same-origin")
    expect(inside.get_by_role("link", name="Open in its own tab")).to_have_attribute("href", url)
    page.close()


def test_a_page_from_the_disk_says_so(browser, site):
    page = browser.new_page()
    page.goto((site(GARDEN) / "index.html").as_uri())
    expect(page.locator("#hint")).to_contain_text("python3 -m http.server")
    page.close()
