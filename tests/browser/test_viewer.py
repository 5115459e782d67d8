"""The viewer: a picture large, compared with another, its settings taken, shared."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.kept import press, settings, thumbs, toast, viewer, visits
from tests.dist import located


@pytest.fixture
def visit(plain, url):
    with visits(plain, url) as visit:
        yield visit


def test_the_viewer_reuses_compares_and_fills_the_screen(visit):
    studio = visit(settings(1), settings(2, width=96, height=96, prompt="a\nb"), query="?steps=9")
    page = studio.page
    thumbs(page).nth(1).click()
    expect(viewer(page).get_by_role("button", name="Next picture")).to_be_disabled()
    press(page, "f")
    page.wait_for_function("document.fullscreenElement?.id === 'viewer-body'")
    expect(page.get_by_role("button", name="Use these settings")).to_be_hidden()
    press(page, "f")
    page.wait_for_function("document.fullscreenElement === null")
    expect(page.get_by_role("button", name="Full screen", exact=True)).to_be_visible()
    page.evaluate("Object.defineProperty(document, 'fullscreenEnabled', { value: false })")
    press(page, "f")
    expect(page.get_by_role("button", name="Leave full screen")).to_be_visible()
    assert viewer(page).evaluate("(one) => one.offsetWidth === innerWidth")
    press(page, "f", "c")
    expect(viewer(page).get_by_role("heading", name="Compare with")).to_be_focused()
    press(page, "Escape")
    expect(viewer(page).get_by_role("button", name="Compare with…")).to_be_focused()
    press(page, "Enter", "Tab", "Enter")
    slider = viewer(page).get_by_role("slider", name="Border")
    expect(slider).to_be_focused()
    clip = "getComputedStyle(document.querySelector('.over')).clipPath"
    before = page.evaluate(clip)
    press(page, "ArrowLeft")
    expect(slider).to_have_value("49")
    expect(slider).to_have_attribute(
        "aria-valuetext", "49 % of the first picture, 51 % of the second"
    )
    assert page.evaluate(clip) != before
    boxes = [page.locator(f"#compare-{which}").bounding_box() for which in ("first", "second")]
    assert boxes[0] == boxes[1]
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(64 / 48, rel=0.01)
    page.mouse.click(boxes[0]["x"] + boxes[0]["width"] / 4, boxes[0]["y"] + 9)
    expect(slider).to_have_value("25")
    slider.focus()
    press(page, "Escape")
    expect(viewer(page).get_by_role("button", name="Compare with…")).to_be_focused()
    press(page, "ArrowLeft")
    expect(viewer(page)).to_have_accessible_name("a b")
    page.evaluate(  # at once: the next picture comes too late to be shown
        "for (const key of ['ArrowRight', 'u']) document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { key, bubbles: true }))"
    )
    expect(viewer(page)).to_be_hidden()
    expect(studio.control("textbox", "Prompt")).to_be_focused()
    expect(studio.control("textbox", "Prompt")).to_have_value("a\nb")
    for name, value in {"Seed": 2, "Width": 96, "Height": 96, "Steps": 4}.items():
        expect(studio.control("spinbutton", name)).to_have_value(str(value))
    page.wait_for_timeout(300)
    expect(viewer(page)).to_be_hidden()
    thumbs(page).last.click()
    expect(viewer(page)).to_be_visible()
    press(page, "u")
    expect(studio.control("textbox", "Prompt")).to_have_value("picture 1")
    assert studio.logged == []


def test_links_and_pictures_are_copied_where_that_is_allowed(visit):
    studio = visit(settings(2**53 - 1, prompt="rød & blå"), query="?prompt=x")
    page = studio.page
    studio.context.grant_permissions(["geolocation"])  # that alone: all others are refused
    thumbs(page).click()
    viewer(page).get_by_role("button", name="Copy link").click()
    link = viewer(page).get_by_role("textbox", name="Link")
    expect(link).to_be_focused()
    split = urlsplit(link.input_value())
    assert page.url.startswith(f"{split.scheme}://{split.netloc}{split.path}?")
    assert parse_qs(split.query) == {
        "prompt": ["rød & blå"], "seed": [str(2**53 - 1)], "width": ["64"], "height": ["48"],
        "steps": ["4"],
    }
    viewer(page).get_by_role("button", name="Copy image").click()
    expect(toast(page)).to_contain_text("does not let the page copy pictures")
    studio.context.grant_permissions(["clipboard-read", "clipboard-write"])
    viewer(page).get_by_role("button", name="Copy link").click()
    expect(link).to_be_hidden()
    assert page.evaluate("navigator.clipboard.readText()") == split.geturl()
    viewer(page).get_by_role("button", name="Copy image").click()
    expect(toast(page)).to_have_text("The picture is copied.")
    assert page.evaluate("""async () => {
      const [item] = await navigator.clipboard.read();
      const { width, height } = await createImageBitmap(await item.getType('image/png'));
      return [width, height];
    }""") == [64, 48]


def test_inside_a_space_nothing_is_kept_which_is_said_and_the_hubs_page_is_shared(
    plain, dist, url
):
    context = plain.new_context(permissions=["clipboard-read", "clipboard-write"])
    frame_url = "https://trefoil-garden.static.hf.space/"
    context.route(
        f"{frame_url}**",
        lambda route: route.fulfill(
            path=dist / (urlsplit(route.request.url).path[1:] or "index.html")
        ),
    )
    context.route(
        "https://huggingface.co/**",
        lambda route: route.fulfill(
            content_type="text/html",
            body="<script>said = []; onmessage = (e) => said.push([e.origin, e.data])</script>"
            f'<iframe src="{frame_url}" width=900 height=900 allow="clipboard-write"></iframe>',
        ),
    )
    page = context.new_page()
    page.goto("https://huggingface.co/spaces/trefoil/garden")
    frame = page.frames[1]
    expect(frame.get_by_text("lets the page keep nothing")).to_be_visible()
    assert frame.evaluate(located("""async () => {
      const { readSettings, saveSettings } = await import('./code/studio/settings.js');
      try { localStorage.length; return 'storage is not refused here'; } catch { }
      saveSettings({ theme: 'dark' });
      return readSettings().theme;
    }""", url)) == "dark"
    assert frame.evaluate(located("""async () => {
      const { openGallery } = await import('./code/studio/gallery/store.js');
      const store = await openGallery();
      const blob = new Blob(['picture']);
      const { id } = await store.add({ blob, thumbnail: blob, settings: { prompt: 'a' } });
      const removed = await store.remove(id);
      const between = await store.list();
      const back = await store.add(removed);
      return [store.kept, between, back.id === id, back.kept, await (await store.file(id)).text()];
    }""", url)) == [False, [], True, False, "picture"]
    frame.evaluate(located("""async () => {
      const { linkTo } = await import('./code/studio/gallery/share.js');
      window.link = linkTo({ prompt: 'a & b', seed: 1, width: 64, height: 48, steps: 4 });
    }""", url))
    query = "prompt=a+%26+b&seed=1&width=64&height=48&steps=4"
    assert frame.evaluate("link") == f"https://huggingface.co/spaces/trefoil/garden?{query}"
    assert page.evaluate("said") == [[frame_url.rstrip("/"), {"queryString": query}]]
    context.close()


def test_everything_has_its_name_room_and_place_on_a_small_phone(visit):
    page = visit(*[settings(seed, prompt="word" * 60) for seed in range(3)]).page
    page.set_viewport_size({"width": 320, "height": 640})
    thumbs(page).first.click()
    for leave in ("Close", "Stop comparing"):
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert viewer(page).evaluate("(one) => one.scrollWidth <= 320")
        small = viewer(page).evaluate(
            "(one) => [...one.querySelectorAll('button, input')]"
            ".filter((e) => e.checkVisibility() && Math.min(e.offsetWidth, e.offsetHeight) < 24)"
            ".map((e) => e.id || e.ariaLabel)"
        )
        assert small == []
        expect(viewer(page).get_by_role("button", name=leave)).to_be_in_viewport()
        press(page, "c", "Tab", "Enter")
