"""shell.js: the list of what the service worker keeps, so that the site opens without a network.

The list's version follows from all of these files: a site with one changed byte is another shell.
"""

import base64
import hashlib
import json

SUFFIXES = (".html", ".js", ".mjs", ".css", ".wgsl", ".json", ".svg", ".png", ".webmanifest")
WORKER = ("sw.js", "shell.js")  # the browser keeps these itself
APART = ("onnx",)  # folders that no page reads


def write_shell(folder):
    """Writes shell.js for the site that `folder` holds."""
    files, version = {}, hashlib.sha256((folder / "sw.js").read_bytes())
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in SUFFIXES and name not in WORKER and name.split("/")[0] not in APART:
            digest = hashlib.sha256(path.read_bytes()).digest()
            version.update(name.encode() + b"\n" + digest)
            # Hosts write into pages (a Space its variables), so only the rest is held to its hash.
            is_page = path.suffix == ".html"
            files[name] = "" if is_page else "sha256-" + base64.b64encode(digest).decode()
    shell = json.dumps({"version": version.hexdigest()[:16], "files": files}, indent=1)
    (folder / "shell.js").write_text(f"self.SHELL = {shell};\n", encoding="utf-8")
