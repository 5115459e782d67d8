"""What browsers learned after the oldest one that draws, Chromium 113; the one list of it.

A use of any of it in web/ is a fault, unless it stands in WITHOUT: there the code does without it
where it is missing, which the tests try by deleting it.
"""

import re
from pathlib import Path

WEB = Path(__file__).resolve().parents[2] / "web"

# JavaScript: (owner, name, the Chromium that has it).
NAMES = [
    ("GPUAdapter.prototype", "info", 127),
    ("GPU.prototype", "wgslLanguageFeatures", 115),
    ("GPUAdapterInfo.prototype", "subgroupMinSize", 134),
    ("GPUAdapterInfo.prototype", "isFallbackAdapter", 136),
    ("GPUDevice.prototype", "adapterInfo", 127),
    ("AbortSignal", "any", 116),
    ("Array", "fromAsync", 121),
    ("URL", "canParse", 120),
    ("URL", "parse", 126),
    ("Promise", "withResolvers", 119),
    ("Promise", "try", 128),
    ("Object", "groupBy", 117),
    ("Map", "groupBy", 117),
    ("RegExp", "escape", 136),
    ("Math", "f16round", 135),
    ("Math", "sumPrecise", 147),
    ("Error", "isError", 134),
    ("Uint8Array", "fromBase64", 140),
    ("Uint8Array", "fromHex", 140),
    ("Uint8Array.prototype", "toBase64", 140),
    ("Uint8Array.prototype", "toHex", 140),
    ("ArrayBuffer.prototype", "transfer", 114),
    ("ArrayBuffer.prototype", "transferToFixedLength", 114),
    ("Response.prototype", "bytes", 132),
    ("Blob.prototype", "bytes", 132),
    ("ReadableStream", "from", 124),
    ("Iterator", "from", 122),
    ("Set.prototype", "union", 122),
    ("Set.prototype", "intersection", 122),
    ("Set.prototype", "difference", 122),
    ("Set.prototype", "symmetricDifference", 122),
    ("Set.prototype", "isSubsetOf", 122),
    ("Set.prototype", "isSupersetOf", 122),
    ("Set.prototype", "isDisjointFrom", 122),
    ("Element.prototype", "setHTMLUnsafe", 124),
    ("HTMLElement.prototype", "showPopover", 114),
    ("HTMLElement.prototype", "togglePopover", 114),
    ("HTMLDialogElement.prototype", "requestClose", 134),
    ("Document", "parseHTMLUnsafe", 124),
]

# Of Iterator.prototype, all of Chromium 122.
ITERATORS = ["map", "filter", "take", "drop", "flatMap", "toArray", "forEach", "some", "every",
             "find", "reduce"]

# Syntax and styles, as they are written.
PATTERNS = {
    r"\.(values|keys|entries)\(\)\s*\.(" + "|".join(ITERATORS) + r")\(": 122,
    r"\.matchAll\([^()]*\)\s*\.(" + "|".join(ITERATORS) + r")\(": 122,
    r"for await [^\n]*\.(body|stream\(\))\)": 124,
    r"\bimport\b[^;]*\bwith\s*\{": 123,
    r"^\s*(await )?using \w": 134,
    r"\bFloat16Array\b": 135,
    r"\bscheduler\.yield\b": 129,
    r"light-dark\(": 123,
    r"@starting-style": 117,
    r"@scope\b": 118,
    r"\bpopover(target)?=": 114,
    r"field-sizing": 123,
    r"interpolate-size|calc-size\(": 129,
    r"anchor-name|position-anchor": 125,
    r"transition-behavior": 117,
    r":user-(in)?valid": 119,
}

# What is used nevertheless, and where.
WITHOUT = {
    "info": ["engine/device.js"],
    "wgslLanguageFeatures": ["engine/candidates.js"],
    "isFallbackAdapter": ["engine/device.js"],
}

# Names that other objects have as well: only what is written with these before it counts.
COMMON = {"info": r"\badapter", "from": r"\b(ReadableStream|Iterator)", "parse": r"\bURL",
          "try": r"\bPromise", "any": r"\bAbortSignal", "escape": r"\bRegExp",
          "groupBy": r"\b(Object|Map)"}
# Fields have these names as well: only calls count.
CALLED = ["transfer", "bytes", "union", "difference", "intersection"]

COMMENT = re.compile(r"/\*.*?\*/|(?<![:'\"])//[^\n]*", re.DOTALL)

# In a page or worker: takes away those of the list, [owner, name].
DELETE = """
(names) => {
  for (const [owner, name] of names) {
    const object = owner.split('.').reduce((found, part) => found?.[part], globalThis);
    if (object) delete object[name];
  }
}
"""


def every_name():
    return [[owner, name] for owner, name, _ in NAMES] + [
        ["Iterator.prototype", name] for name in ITERATORS]


def uses(text):
    """What of the lists stands in a source: names and patterns."""
    found = [pattern for pattern in PATTERNS if re.search(pattern, text, re.MULTILINE)]
    for _, name, _ in NAMES:
        before = COMMON.get(name, "")
        after = r"\(\)" if name == "bytes" else r"\(" if name in CALLED else r"\b"
        if re.search(rf"{before}\??\.{name}{after}", text):
            found.append(name)
    return sorted(set(found))


def sources():
    """(path relative to web/, text) of scripts, styles and pages, our comments left out."""
    for path in sorted(WEB.rglob("*")):
        if path.suffix in (".js", ".mjs", ".css", ".html"):
            text = path.read_text(encoding="utf-8")
            own = "vendor" not in path.parts
            yield path.relative_to(WEB).as_posix(), COMMENT.sub("", text) if own else text
