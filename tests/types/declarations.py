"""trefoil.d.ts: what the compiler reads from the JSDoc, of web/trefoil.js and all that it names.

The compiler writes one file of declarations for each module. What can be reached from the
library's own is put into one file here: its exports as they are, everything else as types.
"""

import re
import tempfile
import textwrap
from pathlib import Path

from tests.types.compiler import tsc

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = ROOT / "web" / "types" / "trefoil.d.ts"

COMMENT = re.compile(r"/\*\*.*?\*/", re.DOTALL)
NAMED = re.compile(r"(?:export )?(?:declare )?(?:function|class|const|let|type|interface) (\w+)")
VALUE = re.compile(r"^(?:export )?declare ", re.MULTILINE)
FROM = re.compile(r"(import|export)(?: type)? (?:\{(.*)\}|(\*)) from ['\"](\..+)['\"];")
LOCAL = re.compile(r"export \{(.*)\};")
INLINE = re.compile(r"import\(['\"](\.[^'\"]+)['\"]\)\.(\w+)")
ANNOTATED = re.compile(r"@(?:param|returns|property|type) (?=\{)")
TAG = r"@(?:returns|param \S+)"
EMPTY = re.compile(  # tags without a word on them
    rf"/\*\*(?: {TAG})+ \*/\n *|^ *\* {TAG}\n(?! *\*   )", re.MULTILINE)
HEADER = "/** Made from the JSDoc of web/ by python -m tests.types: not to be edited. */\n"


def declarations():
    """The text of trefoil.d.ts as it follows from web/ now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        # Nulls are told here, though the check of web/ passes over them.
        tsc("-p", ROOT, "--noEmit", "false", "--declaration", "--emitDeclarationOnly",
            "--strictNullChecks", "--stripInternal", "--outDir", folder, "--rootDir", ROOT / "web")
        return Roll(folder / "trefoil.d.ts").text()


class Module:
    """One file of declarations: the text of each name, and where the others come from."""

    def __init__(self, path):
        self.path = path
        self.own, self.elsewhere, self.exports, self.all_of = {}, {}, {}, []
        for statement in statements(path.read_text(encoding="utf-8")):
            code = COMMENT.sub("", statement).strip()
            if found := FROM.match(code):
                self.take(*found.groups())
            elif found := LOCAL.match(code):
                self.exports.update(pairs(found[1]))
            elif found := NAMED.match(code):
                self.own[found[1]] = statement
                if code.startswith("export "):
                    self.exports[found[1]] = found[1]
            else:
                raise ValueError(f"{path}: {code[:80]!r} is no declaration that is known here")

    def take(self, keyword, names, star, address):
        path = (self.path.parent / address).resolve().with_suffix(".d.ts")
        if star:
            self.all_of.append(path)
            return
        for local, name in pairs(names).items():
            self.elsewhere[local] = path, name
            if keyword == "export":
                self.exports[local] = local


class Roll:
    def __init__(self, path):
        self.path, self.modules, self.taken = path, {}, {}

    def text(self):
        exported = sorted(self.exported(self.path))
        for name in exported:
            self.collect(self.path, name)
        values = [name for name in exported if VALUE.search(self.taken[name][1])]
        types = sorted(self.taken.keys() - set(values))
        texts = [re.sub(r"^export ", "", text, flags=re.MULTILINE) for _, text in
                 self.taken.values()]
        return "\n".join([HEADER, *texts, listed("export", values), listed("export type", types)])

    def module(self, path):
        if path not in self.modules:
            self.modules[path] = Module(path)
        return self.modules[path]

    def exported(self, path):
        """All names that a module exports."""
        module = self.module(path)
        return set(module.exports).union(*(self.exported(other) for other in module.all_of))

    def collect(self, path, name):
        """Takes a name that a module has or imports, and all that its declaration names."""
        module = self.module(path)
        name = module.exports.get(name, name)
        if name in module.elsewhere:
            return self.collect(*module.elsewhere[name])
        if name not in module.own:
            [other] = [each for each in module.all_of if name in self.exported(each)]
            return self.collect(other, name)
        if name in self.taken:
            if self.taken[name][0] != path:
                raise ValueError(f"{name}: {path} and {self.taken[name][0]} both have one")
            return None
        self.taken[name] = path, ""  # it may name itself
        text = module.own[name]
        code = COMMENT.sub("", text)
        for address, other in INLINE.findall(code):
            self.collect((path.parent / address).resolve().with_suffix(".d.ts"), other)
        for word in sorted(set(re.findall(r"\w+", INLINE.sub("", code)))):
            if word in module.own or word in module.elsewhere:
                self.collect(path, word)
        self.taken[name] = path, EMPTY.sub("", INLINE.sub(r"\2", COMMENT.sub(told, text)))
        return None


def statements(text):
    """The statements of a file, each behind the comment that is its own."""
    found, comment = [], ""
    for piece in re.findall(r"^/\*\*[\s\S]*?\*/\n|^\S.*\n(?:[ }].*\n)*", text, re.MULTILINE):
        if piece.startswith("/**"):
            comment = "" if re.search(r"@(?:typedef|import|template)\b", piece) else piece
        else:
            found.append(comment + piece)
            comment = ""
    return found


def told(comment):
    """A comment without the types that its declaration has."""
    text = comment[0]
    while found := ANNOTATED.search(text):
        depth, end = 0, found.end()
        while True:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if not depth:
                break
        text = text[:found.end()].rstrip() + text[end:]
    return text


def listed(words, names):
    lines = textwrap.fill(", ".join(names), 100, initial_indent="  ", subsequent_indent="  ")
    return f"{words} {{\n{lines},\n}};\n"


def pairs(names):
    """`a, b as c` -> {'a': 'a', 'c': 'b'}"""
    found = {}
    for entry in filter(None, map(str.strip, names.split(","))):
        name, _, local = entry.removeprefix("type ").partition(" as ")
        found[local or name] = name
    return found
