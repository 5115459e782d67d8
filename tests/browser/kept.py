"""The gallery in tests: pictures that are painted, not drawn, by the page's own modules."""

from contextlib import contextmanager

from playwright.sync_api import expect

from tests.browser.test_page import Visit
from tests.dist import located

PAINT = """async (pictures) => {
  const { openGallery } = await import('./code/studio/gallery/store.js');
  const { makeThumbnail } = await import('./code/studio/gallery/thumbnail.js');
  const { encodePng } = await import('./code/studio/picture.js');
  const store = await openGallery();
  return Promise.all(pictures.map(async ({ createdAt, ...settings }) => {
    const { width, height, seed } = settings;
    const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
    for (let i = 0; i < rgba.length; i += 4) rgba.set([seed, i / width / 4, i / 4 % width], i);
    const blob = await encodePng({ rgba, width, height }, settings);
    const thumbnail = await makeThumbnail(blob);
    return store.add({ blob, thumbnail, settings, createdAt });
  }));
}"""


def settings(seed, **changes):
    return {
        "prompt": f"picture {seed}", "seed": seed, "width": 64, "height": 48, "steps": 4,
        "model": "painted: by hand, at once", "precision": "f32", "version": "Trefoil 0",
        **changes,
    }


def paint(page, *pictures):
    """Keeps pictures with these settings, the last of them the newest; returns their entries."""
    dated = [{"createdAt": 1_700_000_000_000 + i, **one} for i, one in enumerate(pictures)]
    return page.evaluate(located(PAINT, page.url), dated)


@contextmanager
def visits(browser, url):
    """visit(*pictures, query="") -> a page whose gallery holds pictures of these settings."""
    opened = []

    def visit(*pictures, query=""):
        opened.append(Visit(browser, url + query))
        paint(opened[-1].page, *pictures)
        expect(thumbs(opened[-1].page)).to_have_count(min(24, len(pictures)))
        return opened[-1]

    yield visit
    for one in opened:
        one.context.close()


def thumbs(page):
    return page.locator("#thumbs button")


def names(page):
    return thumbs(page).evaluate_all("(all) => all.map((one) => one.ariaLabel)")


def toast(page):
    return page.locator("#toast-text")


def viewer(page):
    return page.get_by_role("dialog")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
