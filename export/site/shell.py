"""sw.js: the service worker, with the list of what it keeps for a visit without a network.

The list's version follows from all of these files: a site with one changed byte is another shell.
The list stands in the worker itself, so that no host can send the one without the other.
"""

import base64
import hashlib
from pathlib import Path

from export.site.code import find_code
from export.source.configuration import dump_json

WORKER = Path(__file__).resolve().parents[2] / "web" / "sw.js"
SUFFIXES = (".html", ".js", ".mjs", ".css", ".wgsl", ".json", ".svg", ".png", ".webmanifest")
APART = ("onnx", "sw.js")  # what no page reads, and what the browser keeps itself


def write_shell(folder):
    """Writes sw.js for the site that `folder` holds."""
    source = WORKER.read_text(encoding="utf-8")
    files, version = {}, hashlib.sha256(source.encode())
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in SUFFIXES and name.split("/")[0] not in APART:
            digest = hashlib.sha256(path.read_bytes()).digest()
            version.update(name.encode() + b"\n" + digest)
            # Hosts write into pages (a Space its variables), so only the rest is held to its hash.
            is_page = path.suffix == ".html"
            files[name] = "" if is_page else "sha256-" + base64.b64encode(digest).decode()
    shell = {"version": version.hexdigest()[:16], "code": find_code(folder), "files": files}
    text = f"self.SHELL = {dump_json(shell, 'sw.js', indent=1)};\n\n{source}"
    (folder / "sw.js").write_text(text, encoding="utf-8", newline="\n")
