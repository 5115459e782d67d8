"""manifest.json: all that the browser knows about the model."""

import json

from export.errors import ExportError
from export.families.call import SCHEDULER_CLASS
from export.source.configuration import dump_json, read_json, show

FORMAT = "trefoil-2"
PREVIEW_CELL = 2  # pixels of a preview along a side of a token


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
        "prompts": [prompt_entry(model)],
        "latents": latents_entry(model),
        "sampler": sampler_entry(model.scheduler),
        "components": {name: component_entry(c) for name, c in model.components.items()},
        "shards": shards,
        "tensors": tensors,
    } | schedules_entry(model) | ({"preview": preview | {"cell": PREVIEW_CELL}} if preview else {})


def prompt_entry(model):
    """How a prompt becomes the text encoder's input."""
    tokenizer = model.tokenizer
    return {
        "encoder": "text_encoder",
        "tokenizer": tokenizer.manifest(),
        "template": {"prefix": tokenizer.prefix, "suffix": tokenizer.suffix, "lower": False},
        "length": model.pipeline.max_sequence_length,
        "padding": {"id": tokenizer.pad_token_id, "side": "right"},
        "mask": True,
        "keep": None,
    }


def latents_entry(model):
    """What the denoiser's tokens are, and how they become the autoencoder's latents."""
    autoencoder = model.components["autoencoder"].config
    statistics = [f"autoencoder.bn.running_{kind}" for kind in ("mean", "var")]
    return {
        "channels": model.components["transformer"].config.in_channels, "pixels": model.patch,
        "statistics": statistics, "eps": autoencoder.batch_norm_eps,
    }  # fmt: skip


def sampler_entry(scheduler):
    shift = "empirical" if scheduler["use_dynamic_shifting"] else "static"
    return {"class": SCHEDULER_CLASS, "shift": shift, "config": scheduler}


def schedules_entry(model):
    folding = model.components["transformer"].folding
    return {"schedules": folding.manifest()} if folding else {}


def component_entry(component):
    return {
        "class": component.class_name,
        "config": component.config.manifest(),
        "parameters": component.parameters,
        "source_bytes": component.source_bytes,
        "packed_bytes": component.packed_bytes,
        "gpu_bytes": component.gpu_bytes,
    } | ({"image_input": [f"{component.name}.{name}" for name in component.image_input]}
         if component.image_input else {})  # fmt: skip


def write_manifest(path, manifest):
    """Compact, with sorted keys; `tensors` and `components` keep the order of use in `shards`."""
    text = dump_json(manifest, path.name, sort_keys=True, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def read_manifest(path):
    """The manifest in a file. Raises ExportError where another version of this code wrote it."""
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        got = show(manifest.get("format"))
        raise ExportError(
            f"{path}: was built by an earlier version of build.py ({got}), and this one reads "
            f"{FORMAT}: build the site again"
        )
    return manifest


def is_ours(folder):
    """Whether build.py wrote a folder: a site, the weights of one, or an ONNX bundle alone."""
    marks = ("model/manifest.json", "manifest.json", "onnx/trefoil.json")
    return any(has_format(folder / mark) for mark in marks)


def has_format(path):
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["format"]).startswith("trefoil-")
    except (OSError, ValueError, KeyError, TypeError):
        return False
