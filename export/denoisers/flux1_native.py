"""The names of FLUX.1's original code, as diffusers' names: what each diffusers tensor is made of.

q, k and v are one tensor there, in single blocks the MLP's first half too, and the last modulation
has shift before scale. Biases, and the parts of a packed weight, follow it row by row.
"""

import re
from functools import partial

MARK = "vector_in.in_layer.weight"
PARTS = ("weight", "bias", "codes2b", "scale", "scales", "biases")  # of a linear
EMBEDDERS = {"time_in": "timestep_embedder", "guidance_in": "guidance_embedder",
             "vector_in": "text_embedder"}
TOP = {
    "img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out",
    **{f"{theirs}.{layer}": f"time_text_embed.{ours}.{linear}"
       for theirs, ours in EMBEDDERS.items()
       for layer, linear in (("in_layer", "linear_1"), ("out_layer", "linear_2"))},
}
FINAL = "final_layer.adaLN_modulation.1"
DOUBLE = {
    "img_mod.lin": "norm1.linear", "txt_mod.lin": "norm1_context.linear",
    "img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_mlp.0": "ff.net.0.proj", "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj", "txt_mlp.2": "ff_context.net.2",
}
SINGLE = {
    "modulation.lin": "norm.linear", "linear2": "proj_out",
    "norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k",
}
QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
# module -> what it is split into, and the rows of each as multiples of the width
FUSED_DOUBLE = {"img_attn.qkv": dict.fromkeys(QKV, 1), "txt_attn.qkv": dict.fromkeys(ADDED, 1)}
FUSED_SINGLE = {"linear1": dict.fromkeys(QKV, 1) | {"proj_mlp": 4}}
KINDS = {"double": ("transformer_blocks", DOUBLE, FUSED_DOUBLE),
         "single": ("single_transformer_blocks", SINGLE, FUSED_SINGLE)}
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
    folder, known, fused = KINDS[kind]
    block, shares = f"{folder}.{index}", fused.get(inner, {})
    if shares and rows % sum(shares.values()) == 0:
        return {f"{block}.{to}.{part}": span for to, span in spans(shares, rows).items()}
    return {f"{block}.{known[inner]}.{part}" if inner in known else name: everything}


def spans(shares, rows):
    """name -> [(first row, rows)], one after another, of `rows` in these proportions."""
    width, at, found = rows // sum(shares.values()), 0, {}
    for name, share in shares.items():
        found[name] = [(at, share * width)]
        at += share * width
    return found
