"""Everyone: axe-core finds nothing in any state, and what axe cannot see."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.studio import Visit, damaged, tell_page

ROOT = Path(__file__).resolve().parents[2]
GARDEN = ROOT / "models" / "garden-ternary"
AXE = ROOT / "tests" / "vendor" / "axe-core@4.14.1" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """
async (tags) => {
  for (const details of document.querySelectorAll('details')) details.open = true;
  const finished = document.getAnimations().map((animation) => animation.finished);
  await Promise.allSettled(finished);
  const { violations, passes } = await axe.run({ runOnly: tags });
  return {
    passed: passes.length,
    found: violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any, all, none }) =>
      [html, ...[...any, ...all, ...none].map(({ message }) => message)].join(' ')).join('; ')}`),
  };
}
"""
LIGHT, DARK = ("light", 1280), ("dark", 320)
OTHERS = ("dark", 1280), ("light", 320)


def check(studio, state, looks=(LIGHT, DARK)):
    """Lets axe judge what is shown, in each theme and width."""
    page = studio.page
    if not page.evaluate("Boolean(globalThis.axe)"):
        page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    for theme, width in looks:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=theme)
        judged = page.evaluate(RUN, RULES)
        assert judged["passed"] > 10
        assert judged["found"] == [], f"{state}, {theme}, {width} px"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state


def holds_still(studio):
    """Where that is asked, and buttons have borders where colours are forced."""
    page = studio.page
    page.emulate_media(reduced_motion="reduce", forced_colors="active")
    last = page.get_by_role("img").get_attribute("src")
    studio.control("spinbutton", "Steps").fill("1")
    studio.button("Generate").click()
    expect(page.get_by_role("img")).not_to_have_attribute("src", last)
    assert page.evaluate("document.getAnimations().length") == 0
    for name in ("Generate", "Cancel", "Download PNG"):
        borders = "(button) => parseFloat(getComputedStyle(button).borderTopWidth) > 0"
        assert studio.button(name).evaluate(borders), name


def test_axe_finds_nothing_before_and_while_the_model_loads(visit, dist, server, tmp_path):
    copy = damaged(dist, tmp_path, lambda folder: tell_page(folder, bytes=2_700_000_000, images=2))
    closed = "localStorage.setItem('trefoil-unfinished-1', '{\"doing\":\"load\",\"size\":\"\"}')"
    studio = visit(server(copy), script=closed)
    page = studio.page
    expect(page.locator("#unfinished")).to_be_visible()
    page.route("**/*.bin", lambda route: None)  # never answered
    expect(studio.button("Load model (2.7 GB)")).to_be_visible()
    check(studio, "first visit", (LIGHT, DARK, *OTHERS))
    studio.button("Load model (2.7 GB)").click()
    expect(page.locator("#model-text")).to_have_text(re.compile(" of 4.7 MB"))
    check(studio, "loading")
    studio.button("Pause").click()
    expect(studio.button("Resume")).to_be_visible()
    check(studio, "paused")
    assert studio.logged == []


def test_axe_finds_nothing_while_a_picture_is_drawn_and_when_it_is_there(visit, url):
    studio = visit(f"{url}?width=64&height=64&steps=50").loaded()
    page = studio.page
    check(studio, "ready")
    live = page.evaluate_handle("""() => {
      const heard = [];
      new MutationObserver(() => heard.push(document.getElementById('live').textContent))
        .observe(document.getElementById('live'), { childList: true, characterData: true });
      return heard;
    }""")
    studio.hold(step=1)
    studio.button("Generate").click()
    expect(page.get_by_text("Step 2 of 50")).to_be_visible()
    check(studio, "drawing")
    page.keyboard.press("Escape")
    expect(studio.button("Generate")).to_be_enabled()
    studio.let_go()
    studio.control("spinbutton", "Steps").fill("6")
    studio.button("Generate").click()
    studio.picture()
    check(studio, "picture", (LIGHT, DARK, *OTHERS))
    heard = live.json_value()
    heard = heard[len(heard) - heard[::-1].index("Reading the prompt") - 1:]  # the second drawing
    quarters = [f"Drawing, {percent} %" for percent in (0, 25, 50, 75)]
    assert heard[1:-2] in (quarters, quarters[:3])  # not each step
    assert heard[-2:] == ["Developing the picture", "The picture is ready"]
    holds_still(studio)
    page.emulate_media(reduced_motion="no-preference", forced_colors="none")
    page.locator("#thumbs button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(studio, "viewer")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Delete model").click()
    check(studio, "question", (LIGHT,))
    studio.button("Keep it").click()
    studio.control("spinbutton", "Steps").fill("51")
    studio.button("Generate").click()
    studio.alert()
    check(studio, "error")
    assert studio.logged == []


def test_axe_finds_nothing_without_webgpu(plain, url):
    studio = Visit(plain, url)
    studio.alert()
    check(studio, "no WebGPU")


def test_the_pages_carry_nothing_inline(dist):
    for page in ("index.html", "bench.html"):
        html = (dist / page).read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html)
