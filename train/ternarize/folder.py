"""Writes a student's folder in the MLX-packed layout, everything that build.py reads included.

    ternary  code = t + 1        scale = s     bias = -s
    binary   code = (b + 1) / 2  scale = 2 s   bias = -s

so that a weight is scale * code + bias; doubling a bf16 is exact.
"""

import shutil
from pathlib import Path

import numpy as np
import torch

from export import layouts
from export.families.family import ENCODER
from export.families.flux2 import FLUX2
from export.layouts import Floats, MlxAffine, MlxPacked
from export.layouts.mlx_grid import sibling
from export.packing.formats import pack_words, unpack_words, widen_bf16
from export.source import files
from export.source.configuration import Configuration, read_json
from export.source.safetensors import Checkpoint
from export.text_encoders import qwen3
from train.ternarize.files import save_tensors, write_json
from train.ternarize.grid import BINARY, CODE_BITS


def write_folder(out, model, bits, group, tensors, text_encoder_bits):
    """tensors: (name, values, scales or None) as the student yields them; model: the teacher's."""
    out, teacher, family = Path(out), Path(model.source.folder), model.family
    packed = out / layouts.home(MlxPacked, family.denoiser.folder)
    own = {"guidance_embeds": False} if family is FLUX2 else {}
    write_transformer(packed, teacher / family.denoiser.folder, bits, group, tensors, own)
    for part in family.parts:
        if part.kind == ENCODER and text_encoder_bits == 16:
            shutil.copytree(teacher / part.folder, out / part.folder)
        elif part.kind == ENCODER:
            home = out / layouts.home(MlxAffine, part.folder)
            write_encoder(home, *encoder_layout(model, part, text_encoder_bits))
    for path in files.copied(teacher, family):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, out / path.name)


def write_transformer(folder, teacher, bits, group, tensors, own):
    stored = {}
    for name, values, scales in tensors:
        if scales is None:
            stored[name] = values
        else:
            stored |= packed_parts(name, values, scales, bits)
    save_tensors(folder / "diffusion_pytorch_model.safetensors", stored)
    config = read_json(teacher / "config.json") | own
    write_json(folder / "config.json", config)
    quantization = {"bits": CODE_BITS[bits], "group_size": group}
    write_json(folder / "quantization_config.json", quantization)


def packed_parts(name, values, scales, bits):
    """The three stored tensors of a low-bit weight: values int8 [N, K], scales bf16 [N, K/G]."""
    codes = (values + 1) // 2 if bits == BINARY else values + 1
    words = pack_words(codes.numpy().astype(np.uint8), CODE_BITS[bits])
    return {
        name: torch.from_numpy(words),
        sibling(name, "scales"): 2 * scales if bits == BINARY else scales,
        sibling(name, "biases"): -scales,
    }


def encoder_layout(model, part, bits):
    """(configuration, Floats, prefix of its names) of an encoder of the teacher, in `bits`.

    Of Qwen3 all layers are kept, also those behind the last tap.
    """
    folder = Path(model.source.folder) / part.folder
    config = Configuration.read(folder / "config.json")
    if part.module is not qwen3:
        component = model.components[part.name]
        return config, Floats(component.layout.checkpoint, component.specs, bits), ""
    specs = qwen3.spec(qwen3.read_config(config, (config.integer("num_hidden_layers"),)))
    checkpoint = Checkpoint(folder)
    checkpoint.strip_prefix(qwen3.PREFIX)
    return config, Floats(checkpoint, specs, bits), qwen3.PREFIX


def rounded_encoder(model, part, bits):
    """(name, f32 weight) of each linear and embedding of an encoder, as write_encoder stores it."""
    _, layout, prefix = encoder_layout(model, part, bits)
    for name, spec in layout.specs.items():
        if spec.is_linear:
            packed = layout.pack(name)
            scales, biases = (widen_bf16(packed.parts[part]) for part in ("scales", "biases"))
            codes = unpack_words(packed.parts["codes"], bits).astype(np.float32)
            groups = codes.reshape(*scales.shape, packed.storage.group)
            weight = groups * scales[..., None] + biases[..., None]
            yield f"{prefix}{name}", torch.from_numpy(weight.reshape(spec.shape))


def write_encoder(folder, config, layout, prefix):
    """The encoder's linears and embeddings as MLX's affine grid, the rest in bf16."""
    checkpoint, specs = layout.checkpoint, layout.specs
    stored, group = {}, None
    for name, spec in specs.items():
        key = f"{prefix}{name}"
        if not spec.is_linear:
            values = checkpoint.read_finite(name).float32()
            stored[key] = torch.from_numpy(values.copy()).bfloat16()
            continue
        packed = layout.pack(name)
        group = packed.storage.group
        stored[key] = torch.from_numpy(packed.parts["codes"])
        for kind in ("scales", "biases"):
            bf16 = torch.from_numpy(packed.parts[kind].astype(np.uint16)).view(torch.bfloat16)
            stored[sibling(key, kind)] = bf16
    save_tensors(folder / "model.safetensors", stored)
    grid = {"bits": layout.bits, "group_size": group}
    both = {"quantization": grid, "quantization_config": grid}  # as MLX writes them
    write_json(folder / "config.json", config.values | both)
