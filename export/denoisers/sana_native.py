"""The names of Sana's original code, as diffusers' names: what each diffusers tensor is made of.

q, k and v of the self-attention are one tensor there, k and v of the cross-attention too. The
parts of a packed weight (codes2b and scale; scales and biases) follow it, row by row.
"""

import re
from functools import partial

MARK = "attention_y_norm.weight"
PARTS = ("weight", "bias", "codes2b", "scale", "scales", "biases")
SPRINT = "cfg_embedder.mlp.0.weight"  # in files of Sprint, whose embedder has no `emb` around it
TOP = {
    "x_embedder.proj": "patch_embed.proj", "attention_y_norm": "caption_norm",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "cfg_embedder.mlp.0": "time_embed.guidance_embedder.linear_1",
    "cfg_embedder.mlp.2": "time_embed.guidance_embedder.linear_2",
    "t_block.1": "time_embed.linear", "final_layer.linear": "proj_out",
}
TIMESTEP = {"t_embedder.mlp.0": "linear_1", "t_embedder.mlp.2": "linear_2"}
BLOCK = {
    "attn.proj": "attn1.to_out.0", "attn.q_norm": "attn1.norm_q", "attn.k_norm": "attn1.norm_k",
    "cross_attn.q_linear": "attn2.to_q", "cross_attn.proj": "attn2.to_out.0",
    "cross_attn.q_norm": "attn2.norm_q", "cross_attn.k_norm": "attn2.norm_k",
    "mlp.inverted_conv.conv": "ff.conv_inverted", "mlp.depth_conv.conv": "ff.conv_depth",
    "mlp.point_conv.conv": "ff.conv_point",
}
FUSED = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
}
TABLE = re.compile(r"(?:final_layer|blocks\.(\d+))\.scale_shift_table")
INSIDE = re.compile(r"blocks\.(\d+)\.(.+)")


def renaming(call, names):
    """`rename` for a file with these names; trefoil.json has no say."""
    return partial(rename, sprint=SPRINT in names)


def rename(name, rows, sprint):
    """diffusers name -> [(first row, rows)] of the native tensor `name` that has `rows` rows.

    Names that are not known stay as they are, those of other parts of a known module among them.
    """
    everything = [(0, rows)]
    table = TABLE.fullmatch(name)
    if table:
        block = f"transformer_blocks.{table[1]}." if table[1] else ""
        return {f"{block}scale_shift_table": everything}
    module, _, part = name.rpartition(".")
    if part not in PARTS:
        return {name: everything}
    if module in TOP:
        return {f"{TOP[module]}.{part}": everything}
    if module in TIMESTEP:
        around = "time_embed" if sprint else "time_embed.emb"
        return {f"{around}.timestep_embedder.{TIMESTEP[module]}.{part}": everything}
    match = INSIDE.fullmatch(module)
    if not match:
        return {name: everything}
    index, inner = match.groups()
    block, fused = f"transformer_blocks.{index}", FUSED.get(inner, ())
    if fused and rows % len(fused) == 0:
        share = rows // len(fused)
        return {f"{block}.{to}.{part}": [(i * share, share)] for i, to in enumerate(fused)}
    return {f"{block}.{BLOCK[inner]}.{part}" if inner in BLOCK else name: everything}
