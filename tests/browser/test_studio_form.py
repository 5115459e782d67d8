"""The studio's form: what is in reach, what the address may hold, and frames that forbid forms."""

import pytest
from playwright.sync_api import expect

from tests.browser.studio import Visit, damaged, tell_page
from tests.waiting import wait_until

SMALL = "width=64&height=64&steps=1"
SCREENS = [(1280, 720), (1280, 860), (1440, 900), (360, 740), (740, 360), (320, 568), (320, 215)]
BETWEEN = """(element) => {
  const { top, bottom } = element.getBoundingClientRect();
  return [top, bottom];
}"""
BEHIND = """() => {
  const { x, y, width, height } = document.getElementById('generate').getBoundingClientRect();
  return document.elementFromPoint(x + width / 2, y + height / 2).closest('button')?.id;
}"""


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


# ---- one visit ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def seen(browser, dist, server, tmp_path_factory):
    """The studio of a model that its page says is large, asked to draw at once."""
    large = damaged(dist, tmp_path_factory.mktemp("large"),
                    lambda copy: tell_page(copy, bytes=2_700_000_000))
    seen = Visit(browser, f"{server(large)}?prompt=a+tree&seed=9007199254740991&{SMALL}&run")
    yield seen
    seen.context.close()


def test_run_asks_before_gigabytes_come_and_draws_once_they_are_here(seen):
    load = seen.page.get_by_role("button", name="Load model (2.7 GB)")
    expect(load).to_be_visible()
    assert not any(made.endswith(".bin") for made in seen.requested)
    load.click()
    seen.picture()


def test_what_the_address_tells_rightly_is_taken_without_a_word(seen):
    seen.loaded()
    for field, value in {"prompt": "a tree", "seed": "9007199254740991", "width": "64",
                         "height": "64", "steps": "1"}.items():
        expect(seen.page.locator(f"#{field}")).to_have_value(value)
    expect(seen.page.locator("#toast-text")).to_have_text("")


def test_generate_is_in_reach_at_once(seen):
    page = seen.loaded().page
    page.evaluate("scrollTo(0, 0)")
    generate = page.get_by_role("button", name="Generate", exact=True)
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        top, bottom = generate.evaluate(BETWEEN)
        assert page.evaluate("scrollY") == 0
        assert 0 <= top < bottom <= height, f"{width} x {height}"
        assert page.evaluate(BEHIND) == "generate", f"{width} x {height}"
        assert overflow(page) <= 0, f"{width} x {height}"


def test_a_size_far_beyond_the_list_says_what_it_takes_before_it_is_drawn(seen):
    sides = [seen.loaded().control("spinbutton", side) for side in ("Width", "Height")]
    for side, value in zip(sides, ("1024", "512"), strict=True):
        side.fill(value)
    note = seen.page.locator("#large")
    expect(note).to_contain_text("32 times the largest size of the list")
    expect(note).to_contain_text("GPU memory")
    expect(seen.button("Generate")).to_have_accessible_description(note.inner_text())
    for side in sides:
        side.fill("128")
    expect(note).to_be_hidden()
    for side in sides:
        side.fill("64")


def test_one_endless_word_stays_on_the_page(seen):
    word = "x" * 400
    seen.loaded().page.set_viewport_size({"width": 360, "height": 740})
    seen.control("textbox", "Prompt").fill(word)
    seen.button("Generate").click()
    expect(seen.page.locator("#caption")).to_have_text(word)
    assert overflow(seen.page) <= 0
    seen.page.locator("#earlier summary").click()
    expect(seen.page.locator(".earlier-prompt", has_text=word)).to_have_text(word)
    assert overflow(seen.page) <= 0
    expect(seen.picture()).to_have_attribute("alt", word)
    seen.page.locator(".thumbs button").first.click()
    expect(seen.page.get_by_role("dialog")).to_be_visible()
    assert seen.page.evaluate("""[...document.querySelectorAll('dialog[open] *')].every((each) =>
      each.getBoundingClientRect().right <= innerWidth + 1)""")
    seen.page.keyboard.press("Escape")
    seen.page.locator("#earlier summary").click()


def test_a_prompt_like_a_book_does_not_become_a_page_like_one(seen):
    seen.loaded().page.set_viewport_size({"width": 1280, "height": 860})
    kept = seen.page.locator("#thumbs li").count()
    seen.control("textbox", "Prompt").fill("a leaf and " * 9_000)
    before = seen.page.evaluate("document.documentElement.scrollHeight")
    seen.button("Generate").click()
    expect(seen.page.locator("#thumbs li")).to_have_count(kept + 1)
    seen.page.locator("#earlier summary").click()
    assert seen.page.evaluate("document.documentElement.scrollHeight") < before + 1_000


# ---- visits of their own ------------------------------------------------------------------------

@pytest.mark.parametrize("query, unread, kept", [
    ("seed=abc&width=-5", "seed or width", {"width": "128", "height": "128"}),
    ("steps=1e1&height=1.5", "height or steps", {"steps": "4", "height": "128"}),
    ("steps=&seed=-1&prompt=a", "seed or steps", {"steps": "4", "prompt": "a"}),
    ("steps=0", "steps", {"steps": "4"}),
])
def test_what_the_address_tells_wrongly_is_the_models_own_and_told(
    plain, url, query, unread, kept
):
    seen = Visit(plain, f"{url}?{query}")
    expect(seen.page.locator("#toast-text")).to_have_text(
        f"The address holds no usable {unread}: the model's own is in the form.")
    for field, value in kept.items():
        expect(seen.page.locator(f"#{field}")).to_have_value(value)
    assert seen.page.locator("#seed").input_value().isdigit()
    assert [line for line in seen.logged if "adapter" not in line] == []


def test_a_frame_that_forbids_forms_draws(visit, url, server, tmp_path):
    (tmp_path / "index.html").write_text(
        '<!doctype html><link rel="icon" href="data:,">'
        '<iframe sandbox="allow-scripts allow-same-origin" allow="screen-wake-lock" '
        f'width="900" height="800" src="{url}?{SMALL}&seed=7"></iframe>')
    outer = visit(server(tmp_path))
    frame = outer.page.frame_locator("iframe")
    expect(frame.get_by_text("Ready ·")).to_be_visible()
    seed = frame.get_by_role("spinbutton", name="Seed")
    presses = [frame.get_by_role("button", name="Generate", exact=True).click,
               lambda: seed.press("Enter"), lambda: seed.press("Control+Enter")]
    for drawn, press in enumerate(presses, 1):
        press()
        expect(frame.locator("#thumbs li")).to_have_count(drawn)
        expect(frame.get_by_role("img")).to_be_visible()
        expect(frame.locator("body")).to_have_attribute("data-phase", "ready")
    assert outer.logged == []


def test_what_a_page_does_not_offer_is_kept_for_those_that_do(plain, dist, server, tmp_path):
    """FLUX.1's has no "Trimmed", and other models' pages of its origin have."""
    def change(copy):
        html = (copy / "index.html").read_text(encoding="utf-8")
        option = '<option value="trimmed">Trimmed: faster, another picture</option>'
        assert option in html
        (copy / "index.html").write_text(html.replace(option, ""), encoding="utf-8")

    url = server(damaged(dist, tmp_path, change))
    kept = '{"version": 1, "form": {"textTokens": "trimmed", "memory": "small"}}'
    visit = Visit(plain, url, script=f"localStorage['trefoil-settings'] ??= '{kept}';")
    visit.page.get_by_role("textbox", name="Prompt").fill("a fern")
    read = "() => JSON.parse(localStorage['trefoil-settings']).form"
    wait_until(lambda: visit.page.evaluate(read).get("prompt") == "a fern", "the prompt is kept")
    form = visit.page.evaluate(read)
    assert (form["textTokens"], form["memory"]) == ("trimmed", "small")
    visit.context.close()
