"""A checkpoint folder -> the components of a packed model.

open_model reads and checks everything but the weights; pack_model streams those into shards.
"""

from dataclasses import dataclass, field
from typing import Any

from export import layouts
from export.autoencoders import kl
from export.checkpoint import Checkpoint
from export.configuration import Configuration
from export.errors import ExportError
from export.folding import Folding, Modulations, plan_folding
from export.pack import CODE_BITS, Packed, Storage
from export.pipeline import (
    Pipeline,
    check_tokenizer,
    read_family,
    read_pipeline,
    read_scheduler,
    read_taps,
)
from export.shards import stream_bytes
from export.source import Source
from export.spec import Spec, check_complete
from export.text_encoders import qwen3
from export.tokenizer import Tokenizer, read_tokenizer


@dataclass
class Component:
    """One of text_encoder, transformer and autoencoder. `layout` packs the tensors of `specs`."""

    name: str
    class_name: str
    config: Any
    layout: Any
    specs: dict[str, Spec]
    storages: dict[str, Storage] = field(default_factory=dict)
    dropped: dict[str, list[int]] = field(default_factory=dict)  # why -> bytes of each tensor
    folding: Folding | None = None

    @property
    def parameters(self):
        return sum(storage.parameters for storage in self.storages.values())

    @property
    def source_bytes(self):
        """Bytes at the source of what is packed, dropped tensors left out."""
        entries = self.layout.checkpoint.entries
        return sum(entries[name].bytes for name in self.layout.expected())

    @property
    def kept(self):
        """Storages of the tensors that are on the GPU when this draws."""
        folded = self.folding.projections if self.folding else ()
        return {name: storage for name, storage in self.storages.items() if name not in folded}

    @property
    def first(self):
        """What a first picture needs: lists of storages, each in shards of its own."""
        tables = [[table.storage] for table in self.folding.tables[:1]] if self.folding else []
        return [list(self.kept.values()), *tables]

    @property
    def on_demand(self):
        """What other schedules need, likewise."""
        if not self.folding:
            return []
        projections = [self.storages[name] for name in self.folding.projections]
        return [projections, *([table.storage] for table in self.folding.tables[1:])]

    @property
    def packed_bytes(self):
        return sum(storage.wire_bytes for storages in self.first for storage in storages)

    @property
    def on_demand_bytes(self):
        return sum(storage.wire_bytes for storages in self.on_demand for storage in storages)

    @property
    def gpu_bytes(self):
        if self.name == "text_encoder":
            return qwen3.gpu_bytes(self.storages)
        return sum(storage.gpu_bytes for storage in self.kept.values())


@dataclass
class Model:
    source: Source
    family: Any
    pipeline: Pipeline
    patch: int
    scheduler: dict
    tokenizer: Tokenizer
    components: dict[str, Component]

    @property
    def name(self):
        return self.source.name

    @property
    def variant(self):
        """binary when every low-bit tensor has one-bit codes, else ternary."""
        storages = self.components["transformer"].storages.values()
        lowbit = {CODE_BITS[s.kind] for s in storages if s.kind in CODE_BITS}
        return "binary" if lowbit == {1} else "ternary"

    @property
    def first_bytes(self):
        """Bytes that a first picture downloads."""
        shards = (shard_bytes(component.first) for component in self.components.values())
        return sum(shards) + len(self.tokenizer.file)

    @property
    def on_demand_bytes(self):
        """Bytes of the shards that are fetched only when a request needs them."""
        return sum(shard_bytes(component.on_demand) for component in self.components.values())

    def peak_gpu_bytes(self, size):
        config = {name: component.config for name, component in self.components.items()}
        resident = {name: component.gpu_bytes for name, component in self.components.items()}
        return self.family.peak_gpu_bytes(
            resident, config["transformer"], config["text_encoder"], config["autoencoder"],
            self.patch, size, self.pipeline.max_sequence_length,
        )  # fmt: skip


def shard_bytes(runs):
    """Bytes of lists of storages, each in shards of its own."""
    parts = ([n for storage in run for n in storage.part_bytes().values()] for run in runs)
    return sum(stream_bytes(run) for run in parts)


def open_model(source, text_encoder_bits=None):
    """Everything about the checkpoint but its weights, checked.

    text_encoder_bits: 4, 8, 16, or None for 4 unless the source is quantised already.
    Raises ExportError.
    """
    folder = source.folder
    files = [path.relative_to(folder).as_posix() for path in [*folder.glob("*"),
             *folder.glob("*/*")]]  # fmt: skip
    place = layouts.find(folder, files, layouts.TRANSFORMER)
    family = read_family(folder, place is not None and place.layout.stands_alone)
    call = Configuration.read_optional(folder / "trefoil.json")
    taps = read_taps(call, family.TEXT_ENCODER_OUT_LAYERS)
    text_place = choose_text_encoder(folder, files, text_encoder_bits)
    place = place or refuse_none(folder, layouts.TRANSFORMER, "transformer")
    checkpoint = place.layout.open(place, call)
    config_file = read_transformer_config(place, checkpoint, family)
    encoder = qwen3.read_config(Configuration.read(text_place.path / "config.json"), taps)
    transformer = family.read_config(config_file)
    autoencoder = kl.read_config(Configuration.read(folder / "vae" / "config.json"))
    family.check_components(config_file, transformer, encoder, taps, autoencoder)
    tokenizer = read_tokenizer(find_tokenizer(folder, text_place.path))
    check_tokenizer(tokenizer, encoder)
    pipeline = read_pipeline(call, taps, autoencoder.patch)
    scheduler = read_scheduler(folder, family.SCHEDULER)
    folding = plan_folding(transformer, pipeline, autoencoder.patch, scheduler)
    components = (
        open_text_encoder(encoder, text_place, call, text_encoder_bits or 4),
        open_transformer(transformer, place.layout, checkpoint, family, folding),
        open_autoencoder(folder, autoencoder),
    )
    return Model(
        source=source,
        family=family,
        pipeline=pipeline,
        patch=autoencoder.patch,
        scheduler=scheduler,
        tokenizer=tokenizer,
        components={component.name: component for component in components},
    )


def refuse_none(folder, choices, what):
    patterns = [pattern for layout in choices for pattern in layout.files]
    folders = " or ".join(p.split("/")[0] + "/" if "/" in p else p for p in patterns)
    raise ExportError(f"{folder}: no {what}, expected the folder {folders} with its weights")


def read_transformer_config(place, checkpoint, family):
    """config.json beside the weights or in transformer/; without one, what the shapes say."""
    path = place.path if place.path != place.folder else place.folder / "transformer"
    if place.layout.stands_alone and not (path / "config.json").exists():
        return Configuration(place.files[0], family.derive_config(place.files[0], checkpoint))
    return Configuration.read(path / "config.json")


def find_tokenizer(folder, text_encoder):
    """The folder of the tokenizer, which may also lie with the text encoder."""
    choices = [folder / "tokenizer", text_encoder / "tokenizer", text_encoder]
    return next((c for c in choices if (c / "tokenizer.json").exists()), choices[0])


def open_transformer(config, layout_class, checkpoint, family, folding):
    specs = family.transformer_spec(config)
    component = Component("transformer", family.TRANSFORMER_CLASS, config,
                          layout_class(checkpoint, specs), specs, folding=folding)  # fmt: skip
    return check(component, family.drop_reason)


def open_text_encoder(config, place, call, bits):
    specs = qwen3.encoder_spec(config)
    checkpoint = place.layout.open(place, call)
    checkpoint.strip_prefix("model.")
    component = Component("text_encoder", "Qwen3", config, place.layout(checkpoint, specs, bits),
                          specs)  # fmt: skip
    return check(component, qwen3.make_drop_reason(config))


def choose_text_encoder(folder, files, bits):
    """The encoder whose bits are the ones asked for; 16 means exactly what the source has."""
    place = layouts.find(folder, files, layouts.TEXT_ENCODER)
    if place is None:
        refuse_none(folder, layouts.TEXT_ENCODER, "text encoder")
    stored = place.layout.stored_bits(place.path)
    if bits is None or stored in (None, bits):
        return place
    exact = layouts.find(folder, files, [layouts.Floats])
    if exact or bits == 16:
        return exact or place
    raise ExportError(
        f"{place.path}: the text encoder is stored in {stored} bits, got "
        f"--text-encoder-bits {bits}, expected {stored}, 16 or none; or add the full-precision "
        f"{layouts.Floats.folder}/"
    )


def open_autoencoder(folder, config):
    specs = kl.autoencoder_spec(config)
    layout = layouts.Floats(Checkpoint(folder / "vae"), specs)
    return check(Component("autoencoder", kl.CLASS, config, layout, specs), kl.drop_reason)


def check(component, drop_reason):
    """The component, if its tensors are all there, and with what is left out written down."""
    checkpoint, expected = component.layout.checkpoint, component.layout.expected()
    check_complete(checkpoint.folder, expected, checkpoint.entries, drop_reason)
    for name in checkpoint.entries.keys() - expected.keys():
        component.dropped.setdefault(drop_reason(name), []).append(checkpoint.entries[name].bytes)
    return component


def pack_model(model, writer, progress):
    """Packs every tensor into `writer`, one at a time.

    progress(component, parameters): called after each tensor. Returns the manifest's tensors.
    """
    tensors = {}
    for component in model.components.values():
        folding = component.folding
        writer.begin(component.name)
        for name in component.specs:
            if not folding or name not in folding.projections:
                packed = pack_tensor(component, name, progress)
                tensors[f"{component.name}.{name}"] = write_tensor(packed, writer)
                del packed
        if folding:
            tensors |= pack_folding(component, writer, progress)
    writer.finish()
    return tensors


def pack_folding(component, writer, progress):
    """Writes the projections of the folded schedule and, computed from them, its tables."""
    tensors, folding = {}, component.folding
    modulations = Modulations(folding, component.config.timestep_guidance_channels)
    writer.begin(component.name, on_demand=True)
    for name in folding.projections:
        packed = pack_tensor(component, name, progress)
        modulations.take(name, packed)
        tensors[f"{component.name}.{name}"] = write_tensor(packed, writer)
        del packed
    for table in folding.tables:
        writer.begin(component.name, on_demand=table is not folding.tables[0])
        packed = Packed(table.storage, {"data": modulations.table(table)})
        tensors[f"{component.name}.{table.name}"] = write_tensor(packed, writer)
    return tensors


def pack_tensor(component, name, progress):
    packed = component.layout.pack(name)
    component.storages[name] = packed.storage
    progress(component, packed.storage.parameters)
    return packed


def write_tensor(packed, writer):
    """Its manifest entry."""
    parts = {part: writer.write(data) for part, data in packed.parts.items()}
    return tensor_entry(packed.storage) | parts


def plan_model(model, progress):
    """As pack_model, but only finds out how each tensor would be stored."""
    for component in model.components.values():
        for name in component.specs:
            component.storages[name] = component.layout.storage(name)
            progress(component, component.storages[name].parameters)


def tensor_entry(storage):
    entry = {"storage": storage.kind, "shape": list(storage.shape)}
    if storage.group:
        entry |= {"group": storage.group, "scales_dtype": storage.scales_dtype}
    return entry
