"""The pinned onnxruntime-web, from npm."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile

from export import environment

VERSION = "1.30.0"
INTEGRITY = (  # sha512, base64, as npm tells it
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==")
MODULE = "ort.webgpu.bundle.min.mjs"
FILES = (MODULE, "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")


def copy_to(cache, folder):
    """The files that a page needs, from the package in `cache`, which is fetched if need be."""
    package = fetch(cache)
    folder.mkdir()
    with tarfile.open(package) as archive:
        for name in FILES:
            with archive.extractfile(f"package/dist/{name}") as source, \
                    open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)


def fetch(cache):
    package = cache / f"onnxruntime-web-{VERSION}.tgz"
    if not package.exists():
        npm = shutil.which("npm")
        if not npm:
            environment.fail(
                "npm is missing, which brings onnxruntime-web: install Node.js with npm, or "
                "compare with nothing: python -m tests.bench --alone")
        cache.mkdir(parents=True, exist_ok=True)
        environment.tell(f"fetching onnxruntime-web {VERSION}")
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", str(cache),
                   "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not package.exists():
            environment.fail(f"npm pack onnxruntime-web@{VERSION} brought no {package.name}: "
                             f"{reason(done)}; is there a connection?")
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if digest != INTEGRITY:
        environment.fail(f"{package}: its sha512 is {digest}, expected {INTEGRITY}; delete it and "
                         "start again")
    return package


def reason(done):
    """npm's own words, one line of them."""
    try:
        return json.loads(done.stdout)["error"]["summary"].splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        lines = done.stderr.strip().splitlines()
        return lines[0] if lines else f"exit status {done.returncode}"
