"""One part of a model as a site has it, without the rest: what a test of that part alone needs."""

import json

from export import layouts
from export.layouts.floats import channels_last
from export.opening import open_component, open_tensors
from export.packing.formats import Storage
from export.packing.manifest import component_entry
from export.packing.pack import pack_tensors, tensor_entry
from export.packing.shards import MIB, ShardWriter
from export.packing.spec import LOWBIT, VECTOR
from export.source.configuration import Configuration


def open_part(part, root, bits=None):
    """The Component of a Part of export.families.family in a checkpoint's folder, opened as

    export.opening opens it; bits: of a text encoder. Raises ExportError.
    """
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    place = layouts.find(root, files, part.layouts, part.folder)
    layout, tensors = open_tensors(part, place, Configuration("trefoil.json", {}), bits)
    config = part.read_config(Configuration.read(place.path / "config.json"), None)
    return open_component(part, config, layout, tensors, bits)


def write_part(part, root, folder, bits=None):
    """Writes its shards and a manifest, which has nothing else, into `folder`; the manifest."""
    component = open_part(part, root, bits)
    folder.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder, MIB)
    writer.begin(component.name)
    tensors = pack_tensors(component, component.specs, writer, lambda component: None)
    writer.finish()
    manifest = {"components": {component.name: component_entry(component)},
                "shards": writer.shards, "tensors": tensors, "latents": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return manifest


def hollow_tensors(component, specs, kind, group):
    """The manifest's tensors of a published model whose bytes are nowhere: low-bit ones of a kind,

    in groups of so many inputs, all others bf16.
    """
    tensors = {}
    for name, spec in specs.items():
        storage = Storage("bf16", channels_last(spec))
        if spec.role == LOWBIT:
            storage = Storage(kind, spec.shape, group, "bf16")
        use = {"use": VECTOR} if spec.role == VECTOR else {}
        parts = {part: [[0, 0, count]] for part, count in storage.part_bytes().items()}
        tensors[f"{component}.{name}"] = tensor_entry(storage) | use | parts
    return tensors
