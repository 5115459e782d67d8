"""Writes the student's folder: a model whose encoder is low-bit, in the layout of MLX.

Layers above the last tap compute nothing in a site; they are written as least squares have them, or
left out but for one, without which the last tap would pass the final norm.
"""

import shutil

import torch

from export.layouts import MlxAffine, patterns
from export.source import files
from export.source.configuration import Configuration
from train.ternarize import grid
from train.ternarize.files import save_tensors, write_json
from train.ternarize.folder import packed_parts
from train.ternarize.text_encoder.adapter import NAME, fold
from train.ternarize.text_encoder.encoders import Encoder
from train.ternarize.text_encoder.table import open_weights, table_parts


def write_folder(out, run, rest, tensors):
    """rest: export's Model whose other parts it has; tensors: as Student yields them."""
    settings, part, family = run.settings, run.opened.part, rest.family
    copies = {*files.copied(rest.source.folder, family)}
    for name, component in rest.components.items():
        if name not in (part.name, family.autoencoder.name):
            copies.add(component.layout.checkpoint.folder)
    for path in sorted(copies):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, out / path.name)
    bits = grid.CODE_BITS[settings.bits]
    place = patterns(MlxAffine, part.folder)[1].rpartition("/")[0].replace("*", str(bits))
    adapter = write_encoder(out / place, run.family, settings, tensors)
    if adapter is not None:
        denoiser = out / rest.denoiser.layout.checkpoint.folder.name
        fold(out, denoiser, family.name, run.family, adapter)


def write_encoder(folder, encoder, settings, tensors):
    """The encoder's folder alone. Returns the weight of an adapter that is among the tensors."""
    prefix, bits = encoder.kind.module.PREFIX, settings.bits
    stored, adapter = {}, None
    for name, values, scales in tensors:
        if name == NAME:
            adapter = values
            continue
        stored |= parts(prefix + name, values, scales, bits)
    rest, layers = unread(encoder, settings.prune)
    weights = open_weights(encoder)
    for name, lowbit in rest.items():
        weight = torch.from_numpy(weights.read_finite(name).float32().copy())
        if not lowbit:
            stored |= parts(prefix + name, weight.bfloat16(), None, bits)
            continue
        scales = grid.least_squares(weight, encoder.group, bits).bfloat16()
        stored |= parts(prefix + name, grid.nearest(weight, scales.float(), bits), scales, bits)
    key = prefix + encoder.table
    table, says = table_parts(encoder, key, settings.text_encoder_bits)
    save_tensors(folder / "model.safetensors", stored | table)
    own = {"bits": grid.CODE_BITS[bits], "group_size": encoder.group,
           key.removesuffix(".weight"): says}
    config = Configuration.read(encoder.folder / "config.json").values
    if layers < encoder.total:
        config = config | {"num_hidden_layers": layers}
        if config.get("layer_types"):
            config["layer_types"] = config["layer_types"][:layers]
    write_json(folder / "config.json",
               config | {"quantization": own, "quantization_config": own})
    return adapter


def parts(key, values, scales, bits):
    return {key: values} if scales is None else packed_parts(key, values, scales, bits)


def unread(encoder, prune):
    """(name -> whether it is low-bit, of what no tap reads and the folder has; its layers)."""
    if encoder.depth == encoder.total:
        return {}, encoder.total
    layers = encoder.depth + 1 if prune else encoder.total
    whole = Encoder.read(encoder.folder, encoder.kind, (encoder.total,))
    beyond = [f"{encoder.kind.layers}.{i}." for i in range(layers, encoder.total)]
    names = [name for name in whole.specs
             if name not in encoder.specs and not name.startswith(tuple(beyond))]
    return {name: name in whole.lowbit for name in names}, layers
