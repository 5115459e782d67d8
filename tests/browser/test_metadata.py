"""Settings in PNG files, ours and other studios', and what the page remembers."""

import base64
import io
import json
import struct
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from tests.browser.test_page import GARDEN, Visit
from tests.conftest import launch
from tests.dist import located

LARGEST_SEED = 2**53 - 1
A1111 = """a castle (by night:1.2), <lora:ink:0.8>
Steps: of stone, two
BREAK a moat
Negative prompt: blurry,
ugly
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234567890, Size: 512x768, \
Model hash: 6ce0161689, Model: "a: \\"b\\", c", Lora hashes: "ink: 1a2b", Version: v1.10.1"""
ASKED = {"prompt": "a tree", "seed": 7, "width": 64, "height": 48, "steps": 4}
READ = """async ([base64, patch]) => {
  const { settingsIn } = await import('./code/studio/metadata.js');
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return settingsIn(new Blob([bytes]), patch);
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


@pytest.fixture
def read(studio):
    def settings_in(png, patch=16):
        script = located(READ, studio.page.url)
        return studio.page.evaluate(script, [base64.b64encode(png).decode(), patch])

    return settings_in


def png(*texts, size=(4, 3)):
    """A PNG that Pillow writes; texts: (keyword, text, kind, compressed)."""
    info = PngInfo()
    for keyword, text, kind, compressed in texts:
        add = info.add_itxt if kind == "iTXt" else info.add_text
        add(keyword, text, zip=compressed)
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def infotext(prompt="a tree", **changes):
    pairs = {"Steps": 4, "Sampler": "Euler", "Seed": 7, "Size": "64x48"} | changes
    return f"{prompt}\n" + ", ".join(f"{key}: {value}" for key, value in pairs.items())


@pytest.mark.parametrize("kind", ["tEXt", "iTXt"])
@pytest.mark.parametrize("compressed", [False, True])
def test_each_kind_of_text_is_read(read, kind, compressed):
    prompt = "Ça brûle \x85 ÿ" if kind == "tEXt" else "день 木 🌳"
    file = png(("Comment", "x", "tEXt", False), ("parameters", infotext(prompt), kind, compressed))
    want = prompt.replace("\x85", "…")  # as Windows-1252 has it: nobody means control characters
    assert read(file) == {"settings": ASKED | {"prompt": want}, "notes": []}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("prompt", ["一只猫，油画", "день 🌳", "Äpfel “süß” – ja"])
def test_utf8_in_the_chunks_that_should_hold_latin1_is_read_as_utf8(read, prompt, compressed):
    file = png(("parameters", infotext(prompt).encode(), "tEXt", compressed))
    assert read(file) == {"settings": ASKED | {"prompt": prompt}, "notes": []}


def test_windows_quotes_are_quotes(read):
    file = png(("parameters", infotext("“a” – b").encode("cp1252"), "tEXt", False))
    assert read(file)["settings"]["prompt"] == "“a” – b"


def test_another_studios_infotext_gives_its_settings_and_says_what_was_left_out(read):
    got = read(png(("parameters", A1111, "tEXt", False)), 64)
    assert got["settings"] == {
        "prompt": "a castle (by night:1.2), <lora:ink:0.8>\nSteps: of stone, two\nBREAK a moat",
        "seed": 1234567890, "width": 512, "height": 768, "steps": 20,
    }  # fmt: skip
    assert [note for note in got["notes"] if "negative prompt" not in note] == []
    assert len(got["notes"]) == 1


@pytest.mark.parametrize(
    "changes, settings, told",
    [
        ({"Size": "500x770"}, {"width": 496, "height": 768}, "500 × 770, was rounded to 496 × 768"),
        ({"Size": "5x48"}, {"width": 16}, "multiples of 16"),
        ({"Steps": 150}, {"steps": 50}, "150 steps were lowered to 50"),
        ({"Seed": LARGEST_SEED}, {"seed": LARGEST_SEED}, None),
        ({"Seed": LARGEST_SEED + 1}, {"seed": None}, f"{LARGEST_SEED + 1}, was left out"),
        ({"Seed": -1}, {"seed": None}, "-1, was left out"),
        ({"Size": "large"}, {"width": None, "height": None}, "Its size, large, could not be read"),
        ({"Steps": 0}, {"steps": None}, "Its number of steps, 0, could not be read"),
        ({"Size": "64 x 48"}, {}, None),
        ({"Size": "64×48"}, {}, None),
        ({"Size": "64X48"}, {}, None),
        ({"Model": '"x, Seed: 9"'}, {}, None),
    ],
)
def test_settings_that_cannot_be_drawn_are_changed_or_left_out_and_told(
    read, changes, settings, told
):
    got = read(png(("parameters", infotext(**changes), "tEXt", False)))
    want = {name: value for name, value in (ASKED | settings).items() if value is not None}
    assert got["settings"] == want
    assert len(got["notes"]) == (told is not None)
    assert told is None or told in got["notes"][0]


TAIL = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1234567890, Size: 512x768, Model: x"
TOLD = {"prompt": "a cat, sitting", "seed": 1234567890, "steps": 20, "width": 512, "height": 768}
NEGATIVE = "negative prompt was left out"


@pytest.mark.parametrize(
    "text, told",
    [
        (f"a cat, sitting {TAIL}", None),
        (f"a cat, sitting, {TAIL}", None),
        (f"a cat, sitting\\n{TAIL}", None),
        (f"a cat, sitting\\nNegative prompt: ugly\\n{TAIL}", NEGATIVE),
        (f"a cat, sitting Negative prompt: ugly {TAIL}", NEGATIVE),
        (f"a cat, sitting\nNegative prompt: ugly {TAIL}", NEGATIVE),
        (f"a cat, sitting\rNegative prompt: ugly\r{TAIL}", NEGATIVE),
        (f"a cat, sitting\n{TAIL}\nTime taken: 4 min. 3.1 sec.", None),
        (f"a cat, sitting\n{TAIL}, Note: one\ntwo", None),
        (f'a cat, sitting\n{TAIL}, Note: "one\ntwo", Version: 1', None),
        (f'a cat, sitting\n{TAIL}, Template: "a\nSteps: 3, Seed: 7, Size: 64x64"', None),
        (f"a cat, sitting\n{TAIL}, Template: a cat, Seed: 7, b, Size: 64x64", None),
        (f'a cat, sitting\n{TAIL}, Model: "a "b", Seed: 7", Version: 1', None),
        (f'a cat, sitting\n{TAIL}, Hashes: {{"model": "a, Seed: 7", "b": [1, 2]}}', None),
        (f"a cat, sitting\n{TAIL}, Hires steps: 9", None),
        ("a cat, sitting\n" + TAIL.replace(
            "Seed", 'Civitai resources: [{"modelName": "a, Seed: 9, b"}], Seed'), None),
        ("a cat, sitting\n" + TAIL.lower(), None),
        ("a cat, sitting\n" + TAIL.replace("512x768", "512 x 768"), None),
    ],
)  # fmt: skip
def test_infotext_that_was_broken_on_its_way_is_read(read, text, told):
    got = read(png(("parameters", text.encode(), "tEXt", False)), 64)
    assert got["settings"] == TOLD
    assert [told is not None and told in note for note in got["notes"]] == [True] * bool(told)


def test_what_an_infotext_does_not_tell_is_said(read):
    for text, settings, absent in [
        ("a cat\nSteps: 4, Seed: 7", {"prompt": "a cat", "steps": 4, "seed": 7}, "tells no size"),
        (TAIL, {name: TOLD[name] for name in TOLD if name != "prompt"}, "tells no prompt"),
        ("a cat\nSteps: 4", {"prompt": "a cat", "steps": 4}, "tells no seed or size"),
        ("\\nabla\nSteps: 4", {"prompt": "\\nabla", "steps": 4}, "tells no seed or size"),
        ("a cat\nSeed: 7, Size: 64x48", {"prompt": "a cat", "seed": 7, "width": 64, "height": 48},
         "tells no steps"),
    ]:  # fmt: skip
        got = read(png(("parameters", text.encode(), "tEXt", False)), 16)
        assert got["settings"] == settings, text
        assert len(got["notes"]) == 1 and absent in got["notes"][0], text


def test_a_hostile_infotext_is_read_in_no_time(read):
    for text in ('Steps: 3, A: "b' * 40_000, "Steps: 3, A: [" * 40_000, "Steps: 3\n" * 60_000):
        file = png(("parameters", text.encode(), "tEXt", False))
        assert read(file)["settings"]["steps"] == 3


def test_our_own_text_goes_before_the_others_unless_it_is_broken(read):
    other = ("parameters", infotext("other"), "tEXt", False)
    own = json.dumps(ASKED | {"seed": str(LARGEST_SEED), "prompt": "own\nNegative prompt: x"})
    assert read(png(other, ("trefoil", own, "iTXt", False))) == {
        "settings": {**ASKED, "seed": LARGEST_SEED, "prompt": "own\nNegative prompt: x"},
        "notes": [],
    }
    for broken in ("{", "null", "[]", '{"prompt": 1}', '"text"'):
        got = read(png(other, ("trefoil", broken, "iTXt", False)))
        assert got["settings"]["prompt"] == "other", broken


def damage(file):
    """name -> (a damaged copy, whether its settings can still be read)"""
    at = file.index(b"parameters") - 8
    (length,) = struct.unpack(">I", file[at : at + 4])
    flipped = file[: at + 8 + length] + b"\0\0\0\0" + file[at + 12 + length :]
    longer = file[:at] + struct.pack(">I", 2**31) + file[at + 4 :]
    return {
        "wrong checksum": (flipped, True),
        "ends after the text": (file[: at + 12 + length + 5], True),
        "ends inside the text": (file[: at + 30], False),
        "a length beyond the end": (longer, False),
        "the signature alone": (file[:8], False),
    }


def test_damaged_files_are_read_as_far_as_they_can_be_and_told(read):
    file = png(("parameters", infotext(), "tEXt", False))
    for name, (damaged, readable) in damage(file).items():
        got = read(damaged)
        assert got.get("settings") == (ASKED if readable else None), name
        assert "damaged" in (got["notes"][0] if readable else got["fault"]), name
    packed = png(("parameters", infotext(), "tEXt", True))
    at = packed.index(b"parameters\0\0") + 14
    assert "damaged" in read(packed[:at] + b"\xff\xff\xff" + packed[at + 3 :])["fault"]
    bomb = bytearray(png(("parameters", "x", "tEXt", False)))
    data = b"parameters\0\0" + zlib.compress(bytes(50_000_000))
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data
    bomb[33:33] = chunk + struct.pack(">I", zlib.crc32(chunk[4:]))
    assert "fault" in read(bytes(bomb))


def test_what_holds_no_settings_is_told_in_a_sentence(read):
    for file, told in {
        png(): "no settings",
        png(("parameters", "a tree, by: day", "tEXt", False)): "no settings",
        png(("workflow", "{}", "tEXt", False)): "no settings",
        b"\xff\xd8\xff\xe0 a JPEG": "no PNG",
        b"": "no PNG",
    }.items():
        assert told in read(file)["fault"]
    long = "a" * 300_000 + "\n" + "b " * 300_000  # is read in no time
    assert "no settings" in read(png(("parameters", long, "tEXt", False)))["fault"]


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
             "c.png": png(("parameters", infotext("third"), "tEXt", False))}  # fmt: skip
    page.evaluate("""(files) => {
      const dataTransfer = new DataTransfer();
      for (const [name, base64] of Object.entries(files)) {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        dataTransfer.items.add(new File([bytes], name, { type: 'image/png' }));
      }
      document.body.dispatchEvent(new DragEvent('drop', {
        dataTransfer, bubbles: true, cancelable: true }));
    }""", {name: base64.b64encode(file).decode() for name, file in files.items()})  # fmt: skip
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
