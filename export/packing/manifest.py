"""manifest.json: all that the browser knows about the model."""

import json

from export.errors import ExportError
from export.families.family import ENCODER
from export.source.configuration import dump_json, read_json, show

FORMAT = "trefoil-2"


def build_manifest(model, shards, tensors, preview):
    """The manifest of a packed model; `shards` and `tensors` as the writer left them, `preview`

    as the family made it of the autoencoder.
    """
    return {
        "format": FORMAT,
        "name": model.name,
        "family": model.family.name,
        "variant": model.variant,
        "source": model.source.origin | base_origin(model.source) | layout_names(model),
        "pipeline": model.call.manifest(),
        "prompts": [prompt_entry(model, prompt) for prompt in model.prompts],
        "latents": model.latents.manifest(),
        "sampler": model.sampler.manifest(),
        "components": {name: component_entry(c) for name, c in model.components.items()},
        "shards": shards,
        "tensors": tensors,
    } | schedules_entry(model.denoiser) | ({"preview": preview} if preview else {})


def base_origin(source):
    """The repository that the parts come from which a model lacks, if it is one."""
    origin = source.base.origin if source.base else {}
    return {f"base_{key}": value for key, value in origin.items()}


def layout_names(model):
    """The layouts that the model was found in: `layout` the denoiser's, then each encoder's."""
    encoders = {f"{part.name}_layout": model.components[part.name].layout.name
                for part in model.family.parts if part.kind == ENCODER}
    return {"layout": model.denoiser.layout.name} | encoders


def prompt_entry(model, prompt):
    """How a prompt becomes an encoder's input."""
    about, tokenizer = prompt.about, prompt.tokenizer
    rows = prompt.rows(model.call.max_sequence_length)
    instruction = prompt.instruction
    return {
        "encoder": about.encoder,
        "tokenizer": {"file": prompt.file} | tokenizer.manifest(),
        "template": {"prefix": tokenizer.prefix, "suffix": tokenizer.suffix, "lower": about.lower,
                     "strip": about.strip},
        "length": rows,
        "padding": {"id": tokenizer.pad_token_id, "side": "right"},
        "mask": about.mask,
        "keep": None if about.keeps_padding else [[0, rows]],
    } | ({"instruction": instruction.manifest(rows)} if instruction else {})


def component_entry(component):
    images = [f"{component.name}.{name}" for name in component.image_input]
    return {
        "class": component.module.CLASS,
        "config": component.config.manifest(),
        "parameters": component.parameters,
        "source_bytes": component.source_bytes,
        "packed_bytes": component.packed_bytes,
        "gpu_bytes": component.gpu_bytes,
    } | ({"image_input": images} if images else {})


def schedules_entry(denoiser):
    tables = denoiser.folding
    return {"schedules": tables.manifest(denoiser.name)} if tables else {}


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
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
