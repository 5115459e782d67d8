"""The names of FLUX.1's original code are diffusers' own, each with the right rows."""

import numpy as np
import pytest

from export.denoisers import flux1, flux1_native
from export.layouts.naming import Renamed
from export.source.configuration import Configuration
from export.source.safetensors import Checkpoint
from tests.export.tiny import save

D, DH, TEXT, POOLED, CHANNELS = 8, 4, 12, 20, 16
CALL = Configuration("trefoil.json", {})

# native module -> (diffusers' modules, the rows of each, columns), as both codes have them.
TOP = {
    "img_in": (["x_embedder"], [D], CHANNELS),
    "txt_in": (["context_embedder"], [D], TEXT),
    "final_layer.linear": (["proj_out"], [CHANNELS], D),
}
for theirs, ours, columns in (("time_in", "timestep", 256), ("guidance_in", "guidance", 256),
                              ("vector_in", "text", POOLED)):
    TOP[f"{theirs}.in_layer"] = ([f"time_text_embed.{ours}_embedder.linear_1"], [D], columns)
    TOP[f"{theirs}.out_layer"] = ([f"time_text_embed.{ours}_embedder.linear_2"], [D], D)
DOUBLE = {
    "img_mod.lin": (["norm1.linear"], [6 * D], D),
    "txt_mod.lin": (["norm1_context.linear"], [6 * D], D),
    "img_attn.qkv": (["attn.to_q", "attn.to_k", "attn.to_v"], [D, D, D], D),
    "txt_attn.qkv": (["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"], [D, D, D], D),
    "img_attn.proj": (["attn.to_out.0"], [D], D),
    "txt_attn.proj": (["attn.to_add_out"], [D], D),
    "img_mlp.0": (["ff.net.0.proj"], [4 * D], D),
    "img_mlp.2": (["ff.net.2"], [D], 4 * D),
    "txt_mlp.0": (["ff_context.net.0.proj"], [4 * D], D),
    "txt_mlp.2": (["ff_context.net.2"], [D], 4 * D),
}
SINGLE = {
    "modulation.lin": (["norm.linear"], [3 * D], D),
    "linear1": (["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"], [D, D, D, 4 * D], D),
    "linear2": (["proj_out"], [D], 5 * D),
}
NORMS = {
    "double_blocks.{}.img_attn.norm.query_norm": "transformer_blocks.{}.attn.norm_q",
    "double_blocks.{}.img_attn.norm.key_norm": "transformer_blocks.{}.attn.norm_k",
    "double_blocks.{}.txt_attn.norm.query_norm": "transformer_blocks.{}.attn.norm_added_q",
    "double_blocks.{}.txt_attn.norm.key_norm": "transformer_blocks.{}.attn.norm_added_k",
    "single_blocks.{}.norm.query_norm": "single_transformer_blocks.{}.attn.norm_q",
    "single_blocks.{}.norm.key_norm": "single_transformer_blocks.{}.attn.norm_k",
}
BLOCKS = (0, 11)


def linears():
    """Native module -> as TOP, of all of them."""
    table = dict(TOP)
    for i in BLOCKS:
        for theirs, ours, inside in (("double_blocks", "transformer_blocks", DOUBLE),
                                     ("single_blocks", "single_transformer_blocks", SINGLE)):
            for module, (to, rows, columns) in inside.items():
                names = [f"{ours}.{i}.{name}" for name in to]
                table[f"{theirs}.{i}.{module}"] = (names, rows, columns)
    return table


@pytest.mark.parametrize("norm_part", ["scale", "weight"])
def test_every_name_and_its_rows(tmp_path, norm_part):
    random, values, want = np.random.default_rng(0), {}, {}
    for module, (names, rows, columns) in linears().items():
        for part, shape in (("weight", (sum(rows), columns)), ("bias", (sum(rows),))):
            values[f"{module}.{part}"] = array = random.integers(0, 99, shape) / 4
            pieces = np.split(array, np.cumsum(rows)[:-1])
            want |= {f"{name}.{part}": piece for name, piece in zip(names, pieces, strict=True)}
    for part, shape in (("weight", (2 * D, D)), ("bias", (2 * D,))):
        array = values[f"final_layer.adaLN_modulation.1.{part}"] = random.normal(size=shape)
        array[:] = np.round(8 * array) / 8
        shift, scale = np.split(array, 2)
        want[f"norm_out.linear.{part}"] = np.concatenate([scale, shift])
    for i in BLOCKS:
        for theirs, ours in NORMS.items():
            array = values[f"{theirs.format(i)}.{norm_part}"] = random.integers(0, 99, DH) / 4
            want[f"{ours.format(i)}.weight"] = array
    save(tmp_path / "m.safetensors", {name: ("F32", array) for name, array in values.items()})
    source = Checkpoint(tmp_path / "m.safetensors")
    assert flux1_native.MARK in source.entries and {*flux1.ANCHORS} & source.entries.keys()
    tensors = Renamed(source, flux1_native.renaming(CALL, source.entries.keys()))
    assert tensors.entries.keys() == want.keys()
    for name, array in want.items():
        assert tensors.entries[name].shape == array.shape
        assert (tensors.read(name).data == array).all(), name


def test_they_are_all_that_the_class_has():
    """So that the table above leaves out none."""
    c = flux1.Flux1Config(CHANNELS, CHANNELS, 1, 1, DH, D // DH, TEXT, POOLED, True, (2, 2, 0))
    rename = flux1_native.renaming(CALL, ())
    made = {ours for module in linears() if ".11." not in module for part in ("weight", "bias")
            for ours in rename(f"{module}.{part}", 42 * D)}
    made |= {ours for part in ("weight", "bias")
             for ours in rename(f"final_layer.adaLN_modulation.1.{part}", 2 * D)}
    made |= {ours for theirs in NORMS for ours in rename(f"{theirs.format(0)}.scale", DH)}
    assert made == flux1.spec(c).keys()


@pytest.mark.parametrize("part", ["codes2b", "scale", "scales", "biases", "bias"])
def test_parts_of_a_weight_follow_it(part):
    rename = flux1_native.renaming(CALL, ())
    assert rename(f"single_blocks.3.linear1.{part}", 14) == {
        f"single_transformer_blocks.3.attn.to_q.{part}": [(0, 2)],
        f"single_transformer_blocks.3.attn.to_k.{part}": [(2, 2)],
        f"single_transformer_blocks.3.attn.to_v.{part}": [(4, 2)],
        f"single_transformer_blocks.3.proj_mlp.{part}": [(6, 8)],
    }
    assert rename(f"final_layer.adaLN_modulation.1.{part}", 6) == {
        f"norm_out.linear.{part}": [(3, 3), (0, 3)]}


def test_a_last_modulation_in_diffusers_order():
    call = Configuration("trefoil.json", {"swapped_norm_out": True})
    rename = flux1_native.renaming(call, ())
    assert rename("final_layer.adaLN_modulation.1.bias", 6) == {
        "norm_out.linear.bias": [(0, 6)]}


@pytest.mark.parametrize("name", [
    "double_blocks.0.img_attn.qkv.input_scale", "double_blocks.0.linear1.weight",
    "single_blocks.0.img_attn.qkv.weight", "double_blocks.x.img_mlp.0.weight",
    "single_blocks.0.linear1.lora_A", "vector_in.weight", "linear2.weight",
])
def test_other_names_stay(name):
    assert flux1_native.renaming(CALL, ())(name, 21) == {name: [(0, 21)]}


@pytest.mark.parametrize("name, rows", [
    ("double_blocks.0.img_attn.qkv.weight", 8), ("single_blocks.0.linear1.weight", 15)])
def test_a_fused_weight_whose_rows_do_not_share_out_is_named_as_it_is(name, rows):
    """So that the completeness check tells of the file's own tensor."""
    assert flux1_native.renaming(CALL, ())(name, rows) == {name: [(0, rows)]}
