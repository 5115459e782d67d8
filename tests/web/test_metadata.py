"""Settings in PNG files, ours and other studios'."""

import base64
import json
import struct
import zlib

import pytest

from tests.web.node import WEB, call
from tests.web.png_files import infotext, png

LARGEST_SEED = 2**53 - 1
A1111 = """a castle (by night:1.2), <lora:ink:0.8>
Steps: of stone, two
BREAK a moat
Negative prompt: blurry,
ugly
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234567890, Size: 512x768, \
Model hash: 6ce0161689, Model: "a: \\"b\\", c", Lora hashes: "ink: 1a2b", Version: v1.10.1"""
ASKED = {"prompt": "a tree", "seed": 7, "width": 64, "height": 48, "steps": 4}
READ = """async ({ web, base64, patch }) => {
  const { settingsIn } = await import(new URL('studio/metadata.js', web));
  return settingsIn(new Blob([Buffer.from(base64, 'base64')]), patch);
}"""


def read(file, patch=16):
    return call(READ, {"web": WEB, "base64": base64.b64encode(file).decode(), "patch": patch})


@pytest.mark.parametrize("kind", ["tEXt", "iTXt"])
@pytest.mark.parametrize("compressed", [False, True])
def test_each_kind_of_text_is_read(kind, compressed):
    prompt = "Ça brûle ÿ" if kind == "tEXt" else "день 木 🌳"
    file = png(("Comment", "x", "tEXt", False), ("parameters", infotext(prompt), kind, compressed))
    assert read(file) == {"settings": ASKED | {"prompt": prompt}, "notes": []}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("prompt", ["一只猫，油画", "день 🌳", "Äpfel “süß” – ja"])
def test_utf8_in_the_chunks_that_should_hold_latin1_is_read_as_utf8(prompt, compressed):
    file = png(("parameters", infotext(prompt).encode(), "tEXt", compressed))
    assert read(file) == {"settings": ASKED | {"prompt": prompt}, "notes": []}


def test_another_studios_infotext_gives_its_settings_and_says_what_was_left_out():
    got = read(png(("parameters", A1111, "tEXt", False)), 64)
    assert got["settings"] == {
        "prompt": "a castle (by night:1.2), <lora:ink:0.8>\nSteps: of stone, two\nBREAK a moat",
        "seed": 1234567890, "width": 512, "height": 768, "steps": 20,
    }
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
    changes, settings, told
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
)
def test_infotext_that_was_broken_on_its_way_is_read(text, told):
    got = read(png(("parameters", text.encode(), "tEXt", False)), 64)
    assert got["settings"] == TOLD
    assert [told is not None and told in note for note in got["notes"]] == [True] * bool(told)


def test_what_an_infotext_does_not_tell_is_said():
    for text, settings, absent in [
        ("a cat\nSteps: 4, Seed: 7", {"prompt": "a cat", "steps": 4, "seed": 7}, "tells no size"),
        (TAIL, {name: TOLD[name] for name in TOLD if name != "prompt"}, "tells no prompt"),
        ("a cat\nSteps: 4", {"prompt": "a cat", "steps": 4}, "tells no seed or size"),
        ("\\nabla\nSteps: 4", {"prompt": "\\nabla", "steps": 4}, "tells no seed or size"),
        ("a cat\nSeed: 7, Size: 64x48", {"prompt": "a cat", "seed": 7, "width": 64, "height": 48},
         "tells no steps"),
    ]:
        got = read(png(("parameters", text.encode(), "tEXt", False)), 16)
        assert got["settings"] == settings, text
        assert len(got["notes"]) == 1 and absent in got["notes"][0], text


def test_a_hostile_infotext_is_read_in_no_time():
    for text in ('Steps: 3, A: "b' * 40_000, "Steps: 3, A: [" * 40_000, "Steps: 3\n" * 60_000):
        file = png(("parameters", text.encode(), "tEXt", False))
        assert read(file)["settings"]["steps"] == 3


def test_our_own_text_goes_before_the_others_unless_it_is_broken():
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


def test_damaged_files_are_read_as_far_as_they_can_be_and_told():
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


def test_what_holds_no_settings_is_told_in_a_sentence():
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
