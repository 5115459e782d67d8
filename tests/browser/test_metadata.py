"""Pictures with settings offered to the page, and what the page remembers.

What is read from such files: tests/web/test_metadata.py.
"""

import base64
import json

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import GARDEN, Visit
from tests.conftest import launch
from tests.dist import located
from tests.web.png_files import infotext, png

READ = """async (base64) => {
  const { settingsIn } = await import('./code/studio/metadata.js');
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return settingsIn(new Blob([bytes]), 16);
}"""
OFFER = """([how, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], 'picture.png', { type: 'image/png' }));
  const clipboardData = transfer, dataTransfer = transfer;
  const options = { bubbles: true, cancelable: true };
  const on = document.querySelector('footer');
  if (how === 'paste') return on.dispatchEvent(
    new ClipboardEvent('paste', { clipboardData, ...options }));
  return ['dragover', 'drop'].map((type) => on.dispatchEvent(
    new DragEvent(type, { dataTransfer, ...options })));
}"""


@pytest.fixture(scope="module")
def studio(playwright, site, server):
    """A page without an adapter: no settings need one."""
    browser = launch(playwright, [])
    yield Visit(browser, server(site(GARDEN, shard_mib=1)))
    browser.close()


@pytest.mark.parametrize(("text", "prompt"), [
    ("Ça brûle \x85 ÿ".encode("latin-1"), "Ça brûle … ÿ"), ("“a” – b".encode("cp1252"), "“a” – b"),
])
def test_latin1_with_control_characters_is_windows_1252(studio, text, prompt):
    """Nobody means control characters. Node.js up to 22 has no Windows-1252 of its own to test."""
    file = png(("parameters", text + infotext("").encode(), "tEXt", False))
    got = studio.page.evaluate(located(READ, studio.page.url), base64.b64encode(file).decode())
    assert got["settings"]["prompt"] == prompt and got["notes"] == []


@pytest.mark.parametrize("how", ["drop", "paste", "choose"])
def test_an_offered_picture_fills_the_form(studio, how):
    page, seed = studio.page, {"drop": 1, "paste": 2, "choose": 3}[how]

    def offer(file):
        if how == "choose":
            with page.expect_file_chooser() as chooser:
                studio.button("Open a picture's settings").click()
            chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": file})
        else:
            page.evaluate(OFFER, [how, base64.b64encode(file).decode()])

    text = infotext(f"by {how}", Seed=seed, Steps=99, Size="128x128")
    offer(png(("parameters", text, "iTXt", False)))
    expect(studio.control("textbox", "Prompt")).to_have_value(f"by {how}")
    expect(studio.control("spinbutton", "Seed")).to_have_value(str(seed))
    expect(studio.control("spinbutton", "Steps")).to_have_value("50")
    expect(studio.control("combobox", "Size")).to_have_value("128x128")
    told = page.locator("#toast-text")
    expect(told).to_have_text("The settings are in the form. Its 99 steps were lowered to 50.")
    expect(page.locator("#live")).to_have_text(told.inner_text())
    offer(png())
    expect(told).to_contain_text("This PNG holds no settings")
    expect(studio.control("textbox", "Prompt")).to_have_value(f"by {how}")
    assert studio.logged == []


def test_a_folder_a_vanished_file_and_several_files_are_told(studio, tmp_path):
    """A folder is dropped as a file that cannot be read; that of an input goes while it is read."""
    page, told = studio.page, studio.page.locator("#toast-text")
    page.evaluate("""() => {
      const transfer = new DataTransfer();
      const gone = new File(['x'], 'holidays');
      gone.arrayBuffer = () => Promise.reject(new DOMException('gone', 'NotFoundError'));
      Object.defineProperty(transfer, 'files', { value: [gone] });
      document.body.dispatchEvent(new DragEvent('drop', {
        dataTransfer: transfer, bubbles: true, cancelable: true }));
    }""")
    expect(told).to_contain_text("“holidays” could not be read: it is a folder, or a file that")
    files = {"a.png": png(), "b.png": png(("parameters", infotext("second"), "tEXt", False)),
             "c.png": png(("parameters", infotext("third"), "tEXt", False))}
    page.evaluate("""(files) => {
      const dataTransfer = new DataTransfer();
      for (const [name, base64] of Object.entries(files)) {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        dataTransfer.items.add(new File([bytes], name, { type: 'image/png' }));
      }
      document.body.dispatchEvent(new DragEvent('drop', {
        dataTransfer, bubbles: true, cancelable: true }));
    }""", {name: base64.b64encode(file).decode() for name, file in files.items()})
    expect(told).to_contain_text("They are those of b.png, of 3 files.")
    expect(studio.control("textbox", "Prompt")).to_have_value("second")
    assert studio.logged == []


def test_settings_are_remembered_and_broken_ones_ignored(studio):
    page = studio.page
    page.goto(page.url.split("?")[0] + "bench.html")  # which writes none itself
    call = """async ([name, ...given]) => {
      const settings = await import('./code/studio/settings.js');
      return settings[name](...given);
    }"""
    call = located(call, page.url)
    page.evaluate(call, ["saveSettings", {"theme": "dark", "form": {"seed": "7"}}])
    page.evaluate(call, ["saveSettings", {"seedLocked": True, "theme": "light"}])
    for number in [*range(60), 30]:
        page.evaluate(call, ["pushPrompt", f"prompt {number}"])
    page.reload()
    kept = {"theme": "light", "form": {"seed": "7"}, "seedLocked": True}
    got = page.evaluate(call, ["readSettings"])
    prompts = got.pop("prompts")
    assert got == kept
    assert prompts[:2] == ["prompt 30", "prompt 59"]
    assert len(prompts) == len(set(prompts)) == 50
    assert page.evaluate(call, ["prompts"]) == prompts
    store = "(text) => localStorage.setItem('trefoil-settings', text)"
    broken = {"version": 1, "theme": "loud", "form": [], "seedLocked": "yes", "prompts": [1]}
    page.evaluate(store, json.dumps(broken | {"gallery": "all"}))
    assert page.evaluate(call, ["readSettings"]) == {"gallery": "all"}
    page.evaluate(store, json.dumps({"version": 2, "theme": "dark"}))
    page.reload()
    assert page.evaluate(call, ["readSettings"]) == {}
    page.evaluate(store, "{")
    assert page.evaluate(call, ["prompts"]) == []
    page.evaluate(call, ["saveSettings", {"theme": "system"}])
    assert page.evaluate(call, ["readSettings"]) == {"theme": "system"}
