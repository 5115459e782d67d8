"""The pinned onnxruntime-web, from npm: for pages without WebGPU, and for the bench."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from export import environment
from export.errors import ExportError

VERSION = "1.30.0"
INTEGRITY = (  # sha512, base64, as npm tells it
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==")
CACHE = Path(__file__).resolve().parents[2] / ".npm"  # which git ignores
LICENCE = Path(__file__).with_name("onnxruntime-web.LICENSE")  # the package carries none

PAGE_MODULE = "ort.wasm.bundle.min.mjs"
PAGE_WASM = "ort-wasm-simd-threaded.wasm"
PAGE_FILES = (PAGE_MODULE, PAGE_WASM)
BENCH_MODULE = "ort.webgpu.bundle.min.mjs"
BENCH_WASM = "ort-wasm-simd-threaded.asyncify.wasm"
BENCH_FILES = (BENCH_MODULE, "ort-wasm-simd-threaded.asyncify.mjs", BENCH_WASM)


def copy_to(folder, files):
    """Some of the package's files into the new folder; fetches the package if need be.

    Raises ExportError where it cannot be had, or is another.
    """
    package = fetch()
    folder.mkdir()
    shutil.copyfile(LICENCE, folder / "LICENSE")
    with tarfile.open(package) as archive:
        for name in files:
            with archive.extractfile(f"package/dist/{name}") as source, \
                    open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)


def fetch():
    """The package's path."""
    package = CACHE / f"onnxruntime-web-{VERSION}.tgz"
    if not package.exists():
        download(package)
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if digest != INTEGRITY:
        raise ExportError(
            f"{package}: its sha512 is {digest}, expected {INTEGRITY}; delete it and start again"
        )
    return package


def download(package):
    npm = shutil.which("npm")
    if not npm:
        raise ExportError("npm is missing, which brings onnxruntime-web; install Node.js with npm")
    CACHE.mkdir(parents=True, exist_ok=True)
    environment.tell(f"fetching onnxruntime-web {VERSION}")
    command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", str(CACHE),
               "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not package.exists():
        raise ExportError(
            f"npm pack onnxruntime-web@{VERSION} brought no {package.name}: {reason(done)}; "
            "is there a connection?"
        )


def reason(done):
    """npm's own words, one line of them."""
    try:
        return json.loads(done.stdout)["error"]["summary"].splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        lines = done.stderr.strip().splitlines()
        return lines[0] if lines else f"exit status {done.returncode}"
