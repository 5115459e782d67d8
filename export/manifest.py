"""manifest.json: all that the browser knows about the model."""

import json

FORMAT = "trefoil-1"


def build_manifest(model, shards, tensors, weights_url=None):
    """The manifest of a packed model; `shards` and `tensors` as the writer left them."""
    manifest = {
        "format": FORMAT,
        "name": model.name,
        "family": model.family.NAME,
        "variant": model.variant,
        "source": model.source.origin | {
            "layout": model.components["transformer"].layout.name,
            "text_encoder_layout": model.components["text_encoder"].layout.name,
        },
        "pipeline": model.pipeline.manifest(),
        "patch": model.patch,
        "tokenizer": model.tokenizer.manifest(),
        "scheduler": model.scheduler,
        "components": {name: component_entry(c) for name, c in model.components.items()},
        "shards": shards,
        "tensors": tensors,
    }
    return manifest | ({"weights_url": weights_url} if weights_url else {})


def component_entry(component):
    return {
        "class": component.class_name,
        "config": component.config.manifest(),
        "parameters": component.parameters,
        "source_bytes": component.source_bytes,
        "packed_bytes": component.packed_bytes,
        "gpu_bytes": component.gpu_bytes,
    } | ({"folding": component.folding.manifest()} if component.folding else {})


def write_manifest(path, manifest):
    """Compact, with sorted keys; `tensors` and `components` keep the order of use in `shards`."""
    text = json.dumps(manifest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def is_ours(folder):
    """Whether a folder is a site, or an ONNX bundle alone, that build.py wrote."""
    return any(has_format(folder / mark) for mark in ("model/manifest.json", "onnx/trefoil.json"))


def has_format(path):
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["format"]).startswith("trefoil-")
    except (OSError, ValueError, KeyError, TypeError):
        return False
