"""The published layouts of a Model's text encoder: each writer returns the folder that it wrote."""

from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch

from tests.fullscale.formats import Part, Scratch, bitstream, words, write_json, write_safetensors
from tests.fullscale.model import TEXT_GROUP, round_bf16, widen_bf16

LOWBIT_GROUP = 128  # inputs that share a scale in a ternary or binary encoder


def write_mlx_encoder(model, folder, component="text_encoder"):
    about, parts = model.family.encoders[component], []
    for name, shape in model.encoders[component].items():
        if len(shape) == 1 or name.endswith(about.whole):
            parts.append(model.whole(name, shape, about.prefix))
            continue
        base = about.prefix + name.removesuffix("weight")
        groups, of = (shape[0], shape[1] // TEXT_GROUP), (model, name, shape)
        parts += [
            Part(f"{base}weight", "U32", words(*shape, 4), partial(text_words, *of)),
            Part(f"{base}scales", "BF16", groups, partial(model.text_scales, name, shape)),
            Part(f"{base}biases", "BF16", groups, partial(text_biases, *of)),
        ]
    quantization = {"quantization": {"bits": 4, "group_size": TEXT_GROUP}}
    place = f"{component}-mlx-4bit"
    write_json(folder / place / "config.json", model.configs[component] | quantization)
    write_safetensors(folder / place / "model.safetensors", parts, model.hollow)
    return place


def write_lowbit_encoder(model, folder, component="text_encoder", bits=2):
    """As train.ternarize writes one: ternary or binary linears, the embeddings in 4 bits; CLIP,

    of which there is none, in 4 bits as a whole.
    """
    config, about = model.configs[component], model.family.encoders[component]
    if config["architectures"] == ["CLIPTextModel"]:
        return write_mlx_encoder(model, folder, component)
    parts, quantization = [], {"bits": bits, "group_size": LOWBIT_GROUP}
    for name, shape in model.encoders[component].items():
        if len(shape) == 1 or name.endswith(about.whole):
            parts.append(model.whole(name, shape, about.prefix))
            continue
        own, group = bits, LOWBIT_GROUP
        base = about.prefix + name.removesuffix("weight")
        if "embed" in name or "shared" in name:
            own, group = 4, TEXT_GROUP
            name_read = base[:-1].replace("shared", "encoder.embed_tokens")
            quantization[name_read] = {"bits": own, "group_size": group}
        groups, of = (shape[0], shape[1] // group), (model, name, shape, own)
        parts += [
            Part(f"{base}weight", "U32", words(*shape, own), partial(lowbit_words, *of)),
            Part(f"{base}scales", "BF16", groups, partial(lowbit_scales, *of)),
            Part(f"{base}biases", "BF16", groups, partial(lowbit_biases, *of)),
        ]
    place = f"{component}-mlx-{bits}bit"
    write_json(folder / place / "config.json", config | {"quantization": quantization})
    write_safetensors(folder / place / "model.safetensors", parts, model.hollow)
    return place


def lowbit_words(model, name, shape, bits):
    codes = {1: 2, 2: 3, 4: 16}[bits]
    return (bitstream(chunk % codes, bits) for chunk in model.text_codes(name, shape))


def lowbit_scales(model, name, shape, bits):
    step = 1 if bits == 4 else LOWBIT_GROUP // TEXT_GROUP
    return (scales[:, ::step] for scales in model.text_scales(name, shape))


def lowbit_biases(model, name, shape, bits):
    share = {1: -0.5, 2: -1.0, 4: -7.5}[bits]
    return (round_bf16(share * widen_bf16(scales))
            for scales in lowbit_scales(model, name, shape, bits))


def text_words(model, name, shape):
    return (bitstream(codes, 4) for codes in model.text_codes(name, shape))


def text_biases(model, name, shape):
    return (round_bf16(-7.5 * widen_bf16(scales)) for scales in model.text_scales(name, shape))


def write_bf16_encoder(model, folder, component="text_encoder", prefix=None):
    prefix = model.family.encoders[component].prefix if prefix is None else prefix
    parts = [model.whole(name, shape, prefix) for name, shape in model.encoders[component].items()]
    write_json(folder / component / "config.json", model.configs[component])
    write_safetensors(folder / component / "model.safetensors", parts, model.hollow)
    return component


def write_hqq_encoder(model, folder, component="text_encoder"):
    place = folder / f"{component}-hqq-4bit"
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as scratch:
        files, state = Scratch(scratch), {}
        for name, shape in model.encoders[component].items():
            module = "model." + name.removesuffix(".weight")
            if len(shape) == 1 or "embed" in name:
                chunks = model.floats(name, shape)
                state[module] = {"weight": files.concatenated(chunks, shape, "BF16")}
            else:
                state[module] = hqq_state(model, name, shape, files)
        torch.save(state, place / "qmodel.pt")
    write_json(place / "config.json", model.configs[component])
    return place.name


def hqq_state(model, name, shape, files):
    """The groups as rows of 64, the first half of them in the high nibbles; w = (q - zero)*scale"""
    groups = np.concatenate(list(model.text_codes(name, shape))).reshape(-1, TEXT_GROUP)
    scales = np.concatenate(list(model.text_scales(name, shape)))
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


ENCODERS = {"mlx": write_mlx_encoder, "bf16": write_bf16_encoder, "hqq": write_hqq_encoder,
            "ternary": write_lowbit_encoder, "binary": partial(write_lowbit_encoder, bits=1)}
