"""The published layouts of a Model's text encoder: each writer returns the folder that it wrote."""

from tempfile import TemporaryDirectory

import numpy as np
import torch

from tests.fullscale.formats import Part, Scratch, bitstream, words, write_json, write_safetensors
from tests.fullscale.model import TEXT_GROUP, round_bf16, widen_bf16


def write_mlx_encoder(model, folder):
    parts = []
    for name, shape in model.text_encoder.items():
        if len(shape) == 1:
            parts.append(model.whole(name, shape, model.family.text_prefix))
            continue
        base = model.family.text_prefix + name.removesuffix("weight")
        groups = (shape[0], shape[1] // TEXT_GROUP)
        parts += [
            Part(f"{base}weight", "U32", words(*shape, 4), lambda n=name: text_words(model, n)),
            Part(f"{base}scales", "BF16", groups, lambda n=name: model.text_scales(n)),
            Part(f"{base}biases", "BF16", groups, lambda n=name: text_biases(model, n)),
        ]
    quantization = {"quantization": {"bits": 4, "group_size": TEXT_GROUP}}
    place = "text_encoder-mlx-4bit"
    write_json(folder / place / "config.json", model.configs["text_encoder"] | quantization)
    write_safetensors(folder / place / "model.safetensors", parts, model.hollow)
    return place


def text_words(model, name):
    return (bitstream(codes, 4) for codes in model.text_codes(name))


def text_biases(model, name):
    return (round_bf16(-7.5 * widen_bf16(scales)) for scales in model.text_scales(name))


def write_bf16_encoder(model, folder, prefix=None):
    prefix = model.family.text_prefix if prefix is None else prefix
    parts = [model.whole(name, shape, prefix) for name, shape in model.text_encoder.items()]
    write_json(folder / "text_encoder" / "config.json", model.configs["text_encoder"])
    write_safetensors(folder / "text_encoder" / "model.safetensors", parts, model.hollow)
    return "text_encoder"


def write_hqq_encoder(model, folder):
    place = folder / "text_encoder-hqq-4bit"
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as scratch:
        files, state = Scratch(scratch), {}
        for name, shape in model.text_encoder.items():
            module = "model." + name.removesuffix(".weight")
            if len(shape) == 1 or "embed" in name:
                chunks = model.floats(name, shape)
                state[module] = {"weight": files.concatenated(chunks, shape, "BF16")}
            else:
                state[module] = hqq_state(model, name, shape, files)
        torch.save(state, place / "qmodel.pt")
    write_json(place / "config.json", model.configs["text_encoder"])
    return place.name


def hqq_state(model, name, shape, files):
    """The groups as rows of 64, the first half of them in the high nibbles; w = (q - zero)*scale"""
    groups = np.concatenate(list(model.text_codes(name))).reshape(-1, TEXT_GROUP)
    scales = np.concatenate(list(model.text_scales(name)))
    half = len(groups) // 2
    zero = model.random(name, 1 << 20).standard_normal((len(groups), 1), np.float32)
    meta = {
        "nbits": 4, "group_size": TEXT_GROUP, "shape": torch.Size(shape), "axis": 1,
        "packing": "4bit_u8", "unpack_view_dtype": torch.uint8, "view_as_float": False,
        "compute_dtype": torch.bfloat16, "quant_zero": False, "quant_scale": False,
        "scale": files.tensor(widen_bf16(scales).astype("<f2").reshape(-1, 1), "F16"),
        "zero": files.tensor((7.5 + 0.1 * zero).astype("<f2"), "F16"),
    }
    packed = files.tensor(groups[:half] << 4 | groups[half:], "U8")
    return {"W_q": packed, "meta": meta, "bias": None}


ENCODERS = {"mlx": write_mlx_encoder, "bf16": write_bf16_encoder, "hqq": write_hqq_encoder}
