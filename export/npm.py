"""Packages from npm, pinned by version and content, kept packed in .npm/, which git ignores."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from export import environment
from export.errors import ExportError

CACHE = Path(__file__).resolve().parents[1] / ".npm"


def fetch(name, version, integrity):
    """The path of a package's .tgz, which is fetched once.

    integrity: its sha512 in base64, as npm tells it. Raises ExportError where the package cannot be
    had, or is another one.
    """
    package = CACHE / f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not package.exists():
        download(name, version, package)
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if digest != integrity:
        raise ExportError(
            f"{package}: its sha512 is {digest}, expected {integrity}; delete it and start again"
        )
    return package


def download(name, version, package):
    npm = shutil.which("npm")
    if not npm:
        raise ExportError(f"npm is missing, which brings {name}; install Node.js with npm")
    CACHE.mkdir(parents=True, exist_ok=True)
    environment.tell(f"fetching {name} {version}")
    command = [npm, "pack", f"{name}@{version}", "--pack-destination", str(CACHE), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not package.exists():
        raise ExportError(
            f"npm pack {name}@{version} brought no {package.name}: {reason(done)}; "
            "is there a connection?"
        )


def reason(done):
    """npm's own words, one line of them."""
    try:
        return json.loads(done.stdout)["error"]["summary"].splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        lines = done.stderr.strip().splitlines()
        return lines[0] if lines else f"exit status {done.returncode}"
