"""The pinned onnxruntime-web, from npm: for pages without WebGPU, and for the bench."""

import shutil
import tarfile
from pathlib import Path

from export import npm

VERSION = "1.30.0"
INTEGRITY = (  # sha512, base64, as npm tells it
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==")
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
    package = npm.fetch("onnxruntime-web", VERSION, INTEGRITY)
    folder.mkdir()
    shutil.copyfile(LICENCE, folder / "LICENSE")
    with tarfile.open(package) as archive:
        for name in files:
            with archive.extractfile(f"package/dist/{name}") as source, \
                    open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)
