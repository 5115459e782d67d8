"""The site's scripts, styles and kernels: one folder of dist/, named by its content.

A page names the folder, so it loads code of one version only, whatever is uploaded meanwhile, and
the folder's files may be kept for ever. What has to have a fixed address stands beside it.
"""

import hashlib
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"code-[0-9a-f]{16}")
PATTERN = "code-" + "[0-9a-f]" * 16  # the same for fnmatch
TOP = ("start.js", "thumbnail.jpg")  # of web/, at addresses of their own
TYPES = "types/trefoil.d.ts"  # of web/, beside trefoil.js; python -m tests.types makes it
APART = ("pages", "types", "sw.js", *TOP)  # of web/; the worker is written with its list
RUNGS = ("lab",)  # of wgsl/: slower kernels, which no page loads
HEADER = re.compile(r"/\*\*.*?\*/\n", re.DOTALL)


def write_code(folder: Path) -> str:
    """Writes the folder of code into a site, and the files that lead to it; the folder's name."""
    written = folder / "code"
    copy_files(ROOT / "web", written, "*", APART)
    copy_files(ROOT / "wgsl", written / "wgsl", "*.wgsl", RUNGS)
    name = f"code-{digest_of(written)[:16]}"
    written.rename(folder / name)
    for top in TOP:
        shutil.copyfile(ROOT / "web" / top, folder / top)
    shutil.copyfile(ROOT / "web" / TYPES, folder / "trefoil.d.ts")
    (folder / "trefoil.js").write_text(entry(name), encoding="utf-8", newline="\n")
    return name


def copy_files(source, target, pattern, apart=()):
    """Byte for byte, whatever is not `apart`, nor types, which no browser reads."""
    for path in sorted(source.rglob(pattern)):
        relative = path.relative_to(source)
        if path.is_file() and relative.parts[0] not in apart and not path.name.endswith(".d.ts"):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / relative)


def digest_of(folder: Path) -> str:
    """Hex SHA-256 of the names and contents of a folder's files."""
    sha = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).digest()
        sha.update(path.relative_to(folder).as_posix().encode() + b"\n" + content)
    return sha.hexdigest()


def entry(name):
    """trefoil.js at the top of the site: what other pages import."""
    header = HEADER.match((ROOT / "web" / "trefoil.js").read_text(encoding="utf-8"))[0]
    return f"{header}export * from './{name}/trefoil.js';\n"


def find_code(folder: Path) -> str:
    """The name of the folder of code in a written site."""
    [name] = [path.name for path in folder.iterdir() if NAME.fullmatch(path.name)]
    return name
