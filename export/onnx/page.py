"""What lets a page draw from the ONNX graphs where there is no WebGPU: onnxruntime-web beside

them, and the manifest's `onnx`, which names the files with their hashes.
"""

import hashlib

from export import environment
from export.errors import ExportError
from export.onnx import web_runtime
from export.onnx.bundle import folder_of

GRAPH = "model.onnx"  # WebAssembly computes in 32 bits
RUNTIME = "runtime"


def page_entry(folder, components):
    """Completes the bundle in `folder` with the runtime; the manifest's `onnx`.

    None, and a word on stderr, where the runtime cannot be had: the bundle serves other tools then.
    Paths are relative to the manifest's folder, beside which onnx/ lies.
    """
    try:
        web_runtime.copy_to(folder / RUNTIME, web_runtime.PAGE_FILES)
    except ExportError as error:
        environment.tell(f"the page cannot draw without WebGPU: {error}")
        return None
    shards, graphs = [], {}
    for part in map(folder_of, components):
        files = sorted((folder / part).glob(f"{GRAPH}*"))
        graphs[part] = {path.name: len(shards) + i for i, path in enumerate(files)}
        shards += [shard_entry(path, part) for path in files]
    runtime = f"../onnx/{RUNTIME}/"
    return {
        "version": web_runtime.VERSION,
        "module": runtime + web_runtime.PAGE_MODULE,
        "wasm": runtime + web_runtime.PAGE_WASM,
        "shards": shards,
        "graphs": graphs,
    }


def shard_entry(path, part):
    """As the manifest's shards are, with the path that the file is fetched from."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": f"{digest}.bin", "path": f"../onnx/{part}/{path.name}",
            "bytes": path.stat().st_size, "sha256": digest}
