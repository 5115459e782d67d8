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
from export.pack import CODE_BITS, Storage
from export.pipeline import (
    Pipeline,
    check_tokenizer,
    read_family,
    read_pipeline,
    read_scheduler,
    read_taps,
)
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

    @property
    def parameters(self):
        return sum(storage.parameters for storage in self.storages.values())

    @property
    def source_bytes(self):
        """Bytes at the source of what is packed, dropped tensors left out."""
        entries = self.layout.checkpoint.entries
        return sum(entries[name].bytes for name in self.layout.expected())

    @property
    def packed_bytes(self):
        return sum(storage.wire_bytes for storage in self.storages.values())

    @property
    def gpu_bytes(self):
        if self.name == "text_encoder":
            return qwen3.gpu_bytes(self.storages)
        return sum(storage.gpu_bytes for storage in self.storages.values())


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

    def peak_gpu_bytes(self, size):
        config = {name: component.config for name, component in self.components.items()}
        resident = {name: component.gpu_bytes for name, component in self.components.items()}
        return self.family.peak_gpu_bytes(
            resident, config["transformer"], config["text_encoder"], config["autoencoder"],
            self.patch, size, self.pipeline.max_sequence_length,
        )  # fmt: skip


def open_model(source, text_encoder_bits=None):
    """Everything about the checkpoint but its weights, checked.

    text_encoder_bits: 4, 8, 16, or None for 4 unless the source is quantised already.
    Raises ExportError.
    """
    folder = source.folder
    family = read_family(folder)
    call = Configuration.read_optional(folder / "trefoil.json")
    taps = read_taps(call, family.TEXT_ENCODER_OUT_LAYERS)
    text_layout = choose_text_encoder(folder, text_encoder_bits)
    layout = choose_layout(folder, layouts.TRANSFORMER, "transformer")
    config_file = Configuration.read(folder / layout.folder / "config.json")
    encoder = qwen3.read_config(read_config(folder, text_layout.folder), taps)
    transformer = family.read_config(config_file)
    autoencoder = kl.read_config(read_config(folder, "vae"))
    family.check_components(config_file, transformer, encoder, taps, autoencoder)
    tokenizer = read_tokenizer(folder / "tokenizer")
    check_tokenizer(tokenizer, encoder)
    components = (
        open_text_encoder(folder, encoder, text_layout, text_encoder_bits or 4),
        open_transformer(folder, transformer, layout, family),
        open_autoencoder(folder, autoencoder),
    )
    return Model(
        source=source,
        family=family,
        pipeline=read_pipeline(call, taps, autoencoder.patch),
        patch=autoencoder.patch,
        scheduler=read_scheduler(folder, family.SCHEDULER),
        tokenizer=tokenizer,
        components={component.name: component for component in components},
    )


def read_config(folder, component):
    return Configuration.read(folder / component / "config.json")


def choose_layout(folder, choices, what):
    for layout in choices:
        if (folder / layout.folder).is_dir():
            return layout
    folders = " or ".join(f"{layout.folder}/" for layout in choices)
    raise ExportError(f"{folder}: no {what}, expected the folder {folders}")


def open_transformer(folder, config, layout_class, family):
    specs = family.transformer_spec(config)
    layout = layout_class(Checkpoint(folder / layout_class.folder), specs)
    component = Component("transformer", family.TRANSFORMER_CLASS, config, layout, specs)
    return check(component, family.drop_reason)


def open_text_encoder(folder, config, layout_class, bits):
    specs = qwen3.encoder_spec(config)
    checkpoint = Checkpoint(folder / layout_class.folder)
    checkpoint.strip_prefix("model.")
    component = Component("text_encoder", "Qwen3", config, layout_class(checkpoint, specs, bits),
                          specs)  # fmt: skip
    return check(component, qwen3.make_drop_reason(config))


def choose_text_encoder(folder, bits):
    """The encoder whose bits are the ones asked for; 16 means exactly what the source has."""
    layout = choose_layout(folder, layouts.TEXT_ENCODER, "text encoder")
    if layout is not layouts.MlxAffine or bits is None:
        return layout
    stored, _ = layouts.find_quantization(folder / layout.folder)
    if stored == bits:
        return layout
    if (folder / layouts.Floats.folder).is_dir():
        return layouts.Floats
    if bits == 16:
        return layout
    raise ExportError(
        f"{folder / layout.folder}: the text encoder is stored in {stored} bits, got "
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
        writer.begin(component.name)
        for name in component.specs:
            tensors[f"{component.name}.{name}"] = pack_tensor(component, name, writer)
            progress(component, component.storages[name].parameters)
    writer.finish()
    return tensors


def pack_tensor(component, name, writer):
    """Writes one tensor, which is gone from memory afterwards; its manifest entry."""
    packed = component.layout.pack(name)
    component.storages[name] = packed.storage
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
