"""The names of FLUX's original code, as diffusers' names: what both transformers have in common.

Double and single blocks, q, k and v in one tensor, and a last modulation with shift before scale.
What belongs to a linear, its bias or the parts of a packed weight, follows it row by row.
"""

import re
from dataclasses import dataclass, field
from functools import partial

FINAL = "final_layer.adaLN_modulation.1"
BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")
QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
FUSED = {"img_attn.qkv": dict.fromkeys(QKV, 1), "txt_attn.qkv": dict.fromkeys(ADDED, 1)}
HEADS = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}  # of a single block
STREAMS = {
    "img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
}


@dataclass(frozen=True)
class NativeNames:
    """One transformer's. parts: of a linear; top: its modules outside of blocks -> diffusers';

    double, single: those of a block beside STREAMS and HEADS; fused: those of a single block that
    are split -> {diffusers' name: its share of the rows}.
    """

    parts: tuple[str, ...]
    top: dict[str, str]
    double: dict[str, str]
    single: dict[str, str]
    fused: dict[str, dict[str, int]] = field(default_factory=dict)

    def renaming(self, call, names):
        """`rename` for a checkpoint with this trefoil.json, whatever names it has."""
        return partial(self.rename, swapped=call.flag("swapped_norm_out", False))

    def rename(self, name, rows, swapped):
        """diffusers name -> [(first row, rows)] of the native tensor `name` that has `rows` rows.

        swapped: the halves of the last modulation are in diffusers' order already. Names that are
        not known stay as they are, those of other parts of a known module among them.
        """
        module, _, part = name.rpartition(".")
        everything = [(0, rows)]
        if module.endswith("_norm") and part in ("scale", "weight"):
            part = "weight"
        elif part not in self.parts:
            return {name: everything}
        if module in self.top:
            return {f"{self.top[module]}.{part}": everything}
        if module == FINAL:
            half = rows // 2
            order = everything if swapped or rows % 2 else [(half, half), (0, half)]
            return {f"norm_out.linear.{part}": order}
        match = BLOCK.fullmatch(module)
        if not match:
            return {name: everything}
        kind, index, inner = match.groups()
        folder, known, fused = self.block(kind)
        block, shares = f"{folder}.{index}", fused.get(inner, {})
        if shares and rows % sum(shares.values()) == 0:
            return {f"{block}.{to}.{part}": span for to, span in spans(shares, rows).items()}
        return {f"{block}.{known[inner]}.{part}" if inner in known else name: everything}

    def block(self, kind):
        """(diffusers' folder, its modules' names, those that are split) of a kind of block."""
        if kind == "double":
            return "transformer_blocks", STREAMS | self.double, FUSED
        return "single_transformer_blocks", HEADS | self.single, self.fused


def spans(shares, rows):
    """name -> [(first row, rows)], one after another, of `rows` in these proportions."""
    width, at, found = rows // sum(shares.values()), 0, {}
    for name, share in shares.items():
        found[name] = [(at, share * width)]
        at += share * width
    return found
