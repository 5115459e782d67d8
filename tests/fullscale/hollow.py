"""The manifest of a site that is not built: what a rehearsal needs of it."""

from pathlib import Path

from export.opening import open_model
from export.packing.manifest import build_manifest
from export.packing.pack import USES, plan_model, tensor_entry
from export.source.find import Source


def hollow_model(folder):
    """A checkpoint, whose files may be hollow, as a dry run has it."""
    model = open_model(Source(Path(folder), Path(folder).name, {}))
    plan_model(model, lambda component: None)
    return model


def manifest_of(model):
    """Every part of a tensor lies at the start of a shard that there is not."""
    tensors = {}
    for name, component in model.components.items():
        tables = component.folding.tables if component.folding else []
        stored = component.storages | {table.name: table.storage for table in tables}
        tensors |= {f"{name}.{tensor}": entry(storage, component.specs.get(tensor))
                    for tensor, storage in stored.items()}
    return build_manifest(model, [], tensors, None)


def entry(storage, spec):
    use = {"use": spec.role} if spec and spec.role in USES else {}
    parts = {part: [[0, 0, size]] for part, size in storage.part_bytes().items()}
    return tensor_entry(storage) | use | parts
