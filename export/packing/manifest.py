"""manifest.json: all that the browser knows about the model."""

import json

from export.source.configuration import dump_json

FORMAT = "trefoil-1"


def build_manifest(model, shards, tensors, preview):
    """The manifest of a packed model; `shards` and `tensors` as the writer left them, `preview`

    as fit_preview found it.
    """
    return {
        "format": FORMAT,
        "name": model.name,
        "family": model.family.NAME,
        "variant": model.variant,
        "source": model.source.origin | {
            "layout": model.components["transformer"].layout.name,
            "text_encoder_layout": model.components["text_encoder"].layout.name,
        },
        "pipeline": model.pipeline.manifest(),
        "preview": preview,
        "patch": model.patch,
        "tokenizer": model.tokenizer.manifest(),
        "scheduler": model.scheduler,
        "components": {name: component_entry(c) for name, c in model.components.items()},
        "shards": shards,
        "tensors": tensors,
    }


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
    text = dump_json(manifest, path.name, sort_keys=True, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def is_ours(folder):
    """Whether build.py wrote a folder: a site, the weights of one, or an ONNX bundle alone."""
    marks = ("model/manifest.json", "manifest.json", "onnx/trefoil.json")
    return any(has_format(folder / mark) for mark in marks)


def has_format(path):
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["format"]).startswith("trefoil-")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
