"""The names of Sana's original code are diffusers' own, each with the right rows."""

import numpy as np
import pytest

from export.denoisers import sana, sana_native
from export.layouts.naming import Renamed
from export.source.safetensors import Checkpoint
from tests.export.tiny import save

D, F, TEXT, CHANNELS = 8, 20, 12, 4

# native name -> (diffusers' names, the shape in all), as both codes have them.
TOP = {
    "x_embedder.proj.weight": (["patch_embed.proj.weight"], (D, CHANNELS, 1, 1)),
    "x_embedder.proj.bias": (["patch_embed.proj.bias"], (D,)),
    "y_embedder.y_proj.fc1.weight": (["caption_projection.linear_1.weight"], (D, TEXT)),
    "y_embedder.y_proj.fc1.bias": (["caption_projection.linear_1.bias"], (D,)),
    "y_embedder.y_proj.fc2.weight": (["caption_projection.linear_2.weight"], (D, D)),
    "y_embedder.y_proj.fc2.bias": (["caption_projection.linear_2.bias"], (D,)),
    "attention_y_norm.weight": (["caption_norm.weight"], (D,)),
    "t_block.1.weight": (["time_embed.linear.weight"], (6 * D, D)),
    "t_block.1.bias": (["time_embed.linear.bias"], (6 * D,)),
    "final_layer.linear.weight": (["proj_out.weight"], (CHANNELS, D)),
    "final_layer.linear.bias": (["proj_out.bias"], (CHANNELS,)),
    "final_layer.scale_shift_table": (["scale_shift_table"], (2, D)),
}
BLOCK = {
    "scale_shift_table": (["scale_shift_table"], (6, D)),
    "attn.qkv.weight": ([f"attn1.to_{x}.weight" for x in "qkv"], (3 * D, D)),
    "attn.proj.weight": (["attn1.to_out.0.weight"], (D, D)),
    "attn.proj.bias": (["attn1.to_out.0.bias"], (D,)),
    "cross_attn.q_linear.weight": (["attn2.to_q.weight"], (D, D)),
    "cross_attn.q_linear.bias": (["attn2.to_q.bias"], (D,)),
    "cross_attn.kv_linear.weight": (["attn2.to_k.weight", "attn2.to_v.weight"], (2 * D, D)),
    "cross_attn.kv_linear.bias": (["attn2.to_k.bias", "attn2.to_v.bias"], (2 * D,)),
    "cross_attn.proj.weight": (["attn2.to_out.0.weight"], (D, D)),
    "cross_attn.proj.bias": (["attn2.to_out.0.bias"], (D,)),
    "mlp.inverted_conv.conv.weight": (["ff.conv_inverted.weight"], (2 * F, D, 1, 1)),
    "mlp.inverted_conv.conv.bias": (["ff.conv_inverted.bias"], (2 * F,)),
    "mlp.depth_conv.conv.weight": (["ff.conv_depth.weight"], (2 * F, 1, 3, 3)),
    "mlp.depth_conv.conv.bias": (["ff.conv_depth.bias"], (2 * F,)),
    "mlp.point_conv.conv.weight": (["ff.conv_point.weight"], (D, F, 1, 1)),
}
NORMS = {f"{theirs}.{x}_norm.weight": ([f"{ours}.norm_{x}.weight"], (D,))
         for theirs, ours in (("attn", "attn1"), ("cross_attn", "attn2")) for x in "qk"}
TIMES = {f"mlp.{i}.{part}": (f"linear_{1 + i // 2}.{part}", shape)
         for i, columns in ((0, 16), (2, D)) for part, shape in
         (("weight", (D, columns)), ("bias", (D,)))}


def times(theirs, ours):
    return {f"{theirs}.{name}": ([f"{ours}.{to}"], shape) for name, (to, shape) in TIMES.items()}


def table(sprint):
    rows = dict(TOP)
    rows |= times("t_embedder", "time_embed.timestep_embedder" if sprint
                  else "time_embed.emb.timestep_embedder")
    rows |= times("cfg_embedder", "time_embed.guidance_embedder") if sprint else {}
    for i in (0, 11):
        inside = BLOCK | (NORMS if sprint else {})
        rows |= {f"blocks.{i}.{name}": ([f"transformer_blocks.{i}.{to}" for to in ours], shape)
                 for name, (ours, shape) in inside.items()}
    return rows


@pytest.mark.parametrize("sprint", [False, True])
def test_every_name_and_its_rows(tmp_path, sprint):
    rows, random = table(sprint), np.random.default_rng(0)
    values = {name: random.integers(0, 99, shape) / 4 for name, (_, shape) in rows.items()}
    save(tmp_path / "m.safetensors", {name: ("F32", array) for name, array in values.items()})
    source = Checkpoint(tmp_path / "m.safetensors")
    assert sana_native.MARK in source.entries and {*sana.ANCHORS} & source.entries.keys()
    tensors = Renamed(source, sana_native.renaming(None, source.entries.keys()))
    assert sorted(tensors.entries) == sorted(name for ours, _ in rows.values() for name in ours)
    for native, (ours, _) in rows.items():
        for name, want in zip(ours, np.split(values[native], len(ours)), strict=True):
            assert tensors.entries[name].shape == want.shape
            assert (tensors.read(name).data == want).all(), name


def test_parts_of_a_packed_weight_follow_it():
    rename = sana_native.renaming(None, ())
    for part in ("codes2b", "scale", "scales", "biases"):
        assert rename(f"blocks.3.cross_attn.kv_linear.{part}", 6) == {
            f"transformer_blocks.3.attn2.to_k.{part}": [(0, 3)],
            f"transformer_blocks.3.attn2.to_v.{part}": [(3, 3)],
        }
    assert rename("blocks.3.mlp.point_conv.conv.codes2b", 6) == {
        "transformer_blocks.3.ff.conv_point.codes2b": [(0, 6)]}


@pytest.mark.parametrize("name", [
    "y_embedder.y_embedding", "pos_embed", "blocks.0.attn.qkv.input_scale", "blocks.0.other.weight",
    "blocks.x.attn.proj.weight", "attn.qkv.weight", "final_layer.linear.lora",
])
def test_other_names_stay(name):
    assert sana_native.renaming(None, ())(name, 6) == {name: [(0, 6)]}


def test_a_fused_weight_whose_rows_do_not_share_out_is_named_as_it_is():
    """So that the completeness check tells of the file's own tensor."""
    name = "blocks.0.attn.qkv.weight"
    assert sana_native.renaming(None, ())(name, 7) == {name: [(0, 7)]}
