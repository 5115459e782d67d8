"""A model's tensors into shards, one at a time, and their entries in the manifest."""

from export.packing.formats import Packed
from export.packing.spec import ROWS, VECTOR

USES = (VECTOR, ROWS)  # roles that the page is told of; the others are matrices


def pack_model(model, writer, progress):
    """Packs every tensor into `writer`, one at a time.

    progress(component): called after each tensor. Returns the manifest's tensors.
    """
    tensors = {}
    for component in model.components.values():
        apart = component.apart
        writer.begin(component.name)
        names = (name for name in component.specs if name not in apart)
        tensors |= pack_tensors(component, names, writer, progress)
        if component.folding:
            tensors |= pack_folding(component, writer, progress)
        if component.image_input:
            writer.begin(component.name, on_demand=True)
            tensors |= pack_tensors(component, component.image_input, writer, progress)
    writer.finish()
    return tensors


def pack_folding(component, writer, progress):
    """Writes the projections of the folded schedule and, computed from them, its tables."""
    tensors, folding = {}, component.folding
    computer = folding.computer()
    writer.begin(component.name, on_demand=True)
    for name in folding.projections:
        packed = pack_tensor(component, name, progress)
        computer.take(name, packed)
        tensors[f"{component.name}.{name}"] = write_tensor(packed, writer, component.specs[name])
        del packed
    for table in folding.tables:
        writer.begin(component.name, on_demand=table is not folding.tables[0])
        packed = Packed(table.storage, {"data": computer.table(table)})
        tensors[f"{component.name}.{table.name}"] = write_tensor(packed, writer)
    return tensors


def pack_tensors(component, names, writer, progress):
    """Writes tensors, one at a time; their manifest entries."""
    tensors = {}
    for name in names:
        packed = pack_tensor(component, name, progress)
        tensors[f"{component.name}.{name}"] = write_tensor(packed, writer, component.specs[name])
        del packed
    return tensors


def pack_tensor(component, name, progress):
    packed = component.layout.pack(name)
    component.storages[name] = packed.storage
    progress(component)
    return packed


def write_tensor(packed, writer, spec=None):
    """Its manifest entry."""
    parts = {part: writer.write(data) for part, data in packed.parts.items()}
    use = {"use": spec.role} if spec and spec.role in USES else {}
    return tensor_entry(packed.storage) | use | parts


def plan_model(model, progress):
    """As pack_model, but only finds out how each tensor would be stored."""
    for component in model.components.values():
        for name in component.specs:
            component.storages[name] = component.layout.storage(name)
            progress(component)


def tensor_entry(storage):
    entry = {"storage": storage.kind, "shape": list(storage.shape)}
    if storage.group:
        entry |= {"group": storage.group, "scales_dtype": storage.scales_dtype}
    return entry
