"""The names of FLUX.2's original code, as diffusers' names: what each diffusers tensor is made of.

q, k and v are one tensor there, and the last modulation has shift before scale. The parts of a
packed weight (scales, biases) follow it, row by row.
"""

import re
from functools import partial

MARK = "double_stream_modulation_img.lin.weight"
PARTS = ("weight", "scales", "biases")  # of a linear; a norm has `scale`
TOP = {
    "img_in": "x_embedder", "txt_in": "context_embedder",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
    "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
    "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
    "single_stream_modulation.lin": "single_stream_modulation.linear",
    "final_layer.linear": "proj_out",
}
FINAL = "final_layer.adaLN_modulation.1"
DOUBLE = {
    "img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_mlp.0": "ff.linear_in", "img_mlp.2": "ff.linear_out",
    "txt_mlp.0": "ff_context.linear_in", "txt_mlp.2": "ff_context.linear_out",
}
FUSED = {
    "img_attn.qkv": ("to_q", "to_k", "to_v"),
    "txt_attn.qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}
SINGLE = {
    "linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out",
    "norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k",
}
BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")


def renaming(call, names):
    """`rename` for a checkpoint with this trefoil.json, whatever names it has."""
    return partial(rename, swapped=call.flag("swapped_norm_out", False))


def rename(name, rows, swapped):
    """diffusers name -> [(first row, rows)] of the native tensor `name` that has `rows` rows.

    swapped: the halves of the last modulation are in diffusers' order already.
    Names that are not known stay as they are, those of other parts of a known module among them.
    """
    module, _, part = name.rpartition(".")
    everything = [(0, rows)]
    if module.endswith("_norm") and part in ("scale", "weight"):
        part = "weight"
    elif part not in PARTS:
        return {name: everything}
    if module in TOP:
        return {f"{TOP[module]}.{part}": everything}
    if module == FINAL:
        half = rows // 2
        order = everything if swapped or rows % 2 else [(half, half), (0, half)]
        return {f"norm_out.linear.{part}": order}
    match = BLOCK.fullmatch(module)
    if not match:
        return {name: everything}
    kind, index, inner = match.groups()
    block = f"{'transformer' if kind == 'double' else 'single_transformer'}_blocks.{index}"
    if kind == "double" and inner in FUSED and rows % 3 == 0:
        third = rows // 3
        return {
            f"{block}.attn.{to}.{part}": [(i * third, third)] for i, to in enumerate(FUSED[inner])
        }
    known = DOUBLE if kind == "double" else SINGLE
    return {f"{block}.{known[inner]}.{part}" if inner in known else name: everything}
