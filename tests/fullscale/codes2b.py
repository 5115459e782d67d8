"""Clark Air's GemLite pack for ComfyUI: one file, in the original names, FP8 beside the codes."""

import re

import numpy as np
import torch

from tests.fullscale.formats import Part, bitstream, write_json, write_safetensors
from tests.fullscale.model import widen_bf16

TOP = {
    "patch_embed.proj": "x_embedder.proj", "caption_norm": "attention_y_norm",
    "caption_projection.linear_1": "y_embedder.y_proj.fc1",
    "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    "time_embed.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_embed.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_embed.linear": "t_block.1", "proj_out": "final_layer.linear",
}
BLOCK = {
    "attn1.to_q": "attn.qkv", "attn1.to_k": "attn.qkv", "attn1.to_v": "attn.qkv",
    "attn1.to_out.0": "attn.proj", "attn2.to_q": "cross_attn.q_linear",
    "attn2.to_k": "cross_attn.kv_linear", "attn2.to_v": "cross_attn.kv_linear",
    "attn2.to_out.0": "cross_attn.proj", "ff.conv_inverted": "mlp.inverted_conv.conv",
    "ff.conv_depth": "mlp.depth_conv.conv", "ff.conv_point": "mlp.point_conv.conv",
}


def write_codes2b(model, folder):
    """What several diffusers tensors are rows of is one tensor here, in their order."""
    parts, fused = [], {}
    for name in model.transformer:
        fused.setdefault(native_name(name), []).append(name)
    for native, names in fused.items():
        rows = sum(model.transformer[name][0] for name in names)
        shape = (rows, *model.transformer[names[0]][1:])
        if model.is_lowbit(names[0]):
            parts += packed_module(model, native.removesuffix(".weight"), names, shape[:2])
        elif len(shape) == 1:
            parts.append(Part(native, "BF16", shape, lambda n=names: floats(model, n)))
        else:
            parts.append(Part(native, "F8_E4M3", shape, lambda n=names: eighths(model, n)))
    write_json(folder / "transformer" / "config.json", model.configs["transformer"])  # the base's
    path = folder / "clark_air_sana_gemlite_comfy.safetensors"
    write_safetensors(path, parts, model.hollow)


def native_name(name):
    """One of a diffusers tensor: of Clark Air's model, which has neither norms nor guidance."""
    name = name.replace("transformer_blocks.", "blocks.")
    if name.endswith("scale_shift_table"):
        return name if name.startswith("blocks.") else f"final_layer.{name}"
    module, _, part = name.rpartition(".")
    block = re.match(r"(blocks\.\d+)\.(.+)", module)
    return f"{block[1]}.{BLOCK[block[2]]}.{part}" if block else f"{TOP[module]}.{part}"


def packed_module(model, module, names, shape):
    rows, columns = shape
    return [
        Part(f"{module}::shape", "I64", (2,), lambda: [np.array(shape, "<i8")]),
        Part(f"{module}::codes2b", "U8", (rows, columns // 4),
             lambda: (bitstream(model.lowbit(name)[0], 2) for name in names)),
        Part(f"{module}::scale", "F32", (rows, columns // model.group),
             lambda: (uneven(model.lowbit(name)[1]) for name in names)),
    ]


def uneven(scales):
    """Such as no 16 bits hold."""
    return np.nextafter(scales, np.float32(2))


def floats(model, names):
    for name in names:
        yield from model.floats(name, model.transformer[name])


def eighths(model, names):
    """As FP8."""
    for chunk in floats(model, names):
        yield torch.from_numpy(widen_bf16(chunk)).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
