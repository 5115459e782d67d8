"""The GemLite pack that ComfyUI loads: trits, scales, FP8 beside them, and what is refused."""

import re

import numpy as np
import pytest

from export.denoisers import sana_native
from export.errors import ExportError
from export.layouts import LOWBIT as LAYOUTS
from export.layouts import by_content
from export.layouts.codes2b import Codes2b
from export.layouts.layout import Place
from export.layouts.naming import Renamed
from export.layouts.native import Native
from export.packing.spec import LOWBIT, Spec, check_complete, vector
from tests.export.test_any_group import weights_of
from tests.export.tiny import as_float, save

D, F = 448, 1344  # groups of 16, 32, 112, 224 and 448 divide both
QKV, POINT = "blocks.0.attn.qkv", "blocks.0.mlp.point_conv.conv"
SPECS = {
    **{f"transformer_blocks.0.attn1.{name}.weight": Spec((D, D), LOWBIT)
       for name in ("to_q", "to_k", "to_v")},
    "transformer_blocks.0.ff.conv_point.weight": Spec((D, F), LOWBIT),
    "transformer_blocks.0.ff.conv_depth.weight": Spec((D, 1, 3, 3)),
    "caption_norm.weight": vector(D),
}


def random_module(rows, columns, groups, levels=3, seed=0):
    """trits int [rows, columns] and scales f32 [rows, groups] that only f32 holds."""
    random = np.random.default_rng(seed)
    values = [-1, 1] if levels == 2 else [-1, 0, 1]
    trits = random.choice(values, (rows, columns))
    return trits, random.uniform(0.01, 1, (rows, groups)).astype("<f4")


def packed_module(name, trits, scales, dtype="F32"):
    """Its three tensors, the codes packed one at a time."""
    rows, columns = trits.shape
    codes = np.zeros((rows, columns // 4), np.uint8)
    for column in range(columns):
        codes[:, column // 4] |= (trits[:, column] + 1).astype(np.uint8) << 2 * (column % 4)
    return {f"{name}::codes2b": ("U8", codes), f"{name}::scale": (dtype, scales),
            f"{name}::shape": ("I64", np.array([rows, columns]))}


def islands():
    """FP8 and floats under the original names."""
    kernels = np.random.default_rng(5).integers(0, 120, (D, 1, 3, 3))
    return {"blocks.0.mlp.depth_conv.conv.weight": ("F8_E4M3", kernels),
            "attention_y_norm.weight": ("F16", np.ones(D))}


def written(path, groups=112, levels=3, **change):
    """(path, name -> weights); change: tensors by name, None to leave one out."""
    modules = {QKV: random_module(3 * D, D, D // groups, levels),
               POINT: random_module(D, F, F // groups, levels, 1)}
    tensors = islands()
    for name, (trits, scales) in modules.items():
        tensors |= packed_module(name, trits, scales)
    tensors |= change
    save(path, {name: tensor for name, tensor in tensors.items() if tensor})
    weights = {name: trits * np.repeat(scales, trits.shape[1] // scales.shape[1], axis=1)
               for name, (trits, scales) in modules.items()}
    return path, weights


def opened(path):
    tensors = Native.open(Place(Native, path.parent, (path,)))
    tensors = Renamed(tensors, sana_native.renaming(None, tensors.entries))
    tensors.flatten({name: spec.shape for name, spec in SPECS.items()})
    layout = by_content(Native, tensors.entries, LAYOUTS)(tensors, SPECS)
    check_complete(path, layout.expected(), tensors.entries, lambda name: None)
    return layout


@pytest.mark.parametrize(("groups", "stored"), [
    (16, 16), (32, 32), (112, 112), (224, 224), (448, 448),
])
@pytest.mark.parametrize("levels", [2, 3])
def test_any_group(tmp_path, groups, stored, levels):
    path, weights = written(tmp_path / "m.safetensors", groups, levels)
    layout = opened(path)
    assert isinstance(layout, Codes2b)
    thirds = np.split(weights[QKV], 3)
    for name, want in zip(list(SPECS)[:3], thirds, strict=True):
        packed = layout.pack(name)
        assert (packed.storage.kind, packed.storage.group) == (
            "ternary" if levels == 3 else "binary", stored)
        assert packed.storage == layout.storage(name) and packed.storage.scales_dtype == "f32"
        assert (weights_of(packed) == want).all(), name
    packed = layout.pack("transformer_blocks.0.ff.conv_point.weight")
    assert (weights_of(packed) == weights[POINT]).all()


def test_scales_are_stored_in_the_fewest_bits_that_hold_them(tmp_path):
    trits, _ = random_module(3 * D, D, 4)
    random = np.random.default_rng(2)
    halves = random.integers(1025, 2048, (3 * D, 4)) / 2048  # f16 holds them, bf16 does not
    for scales, dtype, stored in ((np.ones((3 * D, 4)), "F32", "bf16"), (halves, "F32", "f16"),
                                  (halves, "F16", "f16"), (halves * 1.1, "F32", "f32")):
        path, _ = written(tmp_path / "m.safetensors", **packed_module(QKV, trits, scales, dtype))
        assert opened(path).storage(next(iter(SPECS))).scales_dtype == stored


def test_every_value_of_fp8(tmp_path):
    """Against the formula, sign, exponent and mantissa one after the other."""
    path, _ = written(tmp_path / "m.safetensors", **{
        "attention_y_norm.weight": ("F8_E4M3", np.tile(np.arange(256), 2)[:D])})
    layout = opened(path)
    got = as_float(layout.checkpoint.read("caption_norm.weight").data, "BF16")
    for code in range(256):
        sign, exponent, mantissa = -1 if code >> 7 else 1, code >> 3 & 15, code & 7
        want = sign * (mantissa / 8 * 2.0**-6 if exponent == 0
                       else (1 + mantissa / 8) * 2.0 ** (exponent - 7))
        assert np.isnan(got[code]) if code & 127 == 127 else got[code] == want
    with pytest.raises(ExportError, match="caption_norm.weight holds a value that is infinite or"):
        layout.pack("caption_norm.weight")
    kept = layout.pack("transformer_blocks.0.ff.conv_depth.weight")
    assert kept.storage.kind == "bf16" and kept.storage.shape == (D, 1, 3, 3)


def edited(part, change):
    """A written QKV with one of its parts changed."""
    tensors = packed_module(QKV, *random_module(3 * D, D, 4))
    dtype, array = tensors[f"{QKV}::{part}"]
    return {f"{QKV}::{part}": change(dtype, array.copy())}


def with_value(value):
    def change(dtype, array):
        array[5, 1] = value
        return dtype, array

    return change


@pytest.mark.parametrize(("part", "change", "says"), [
    ("codes2b", with_value(0b11000000), "to_q.weight holds code 3 at row 5, column 7, expected"),
    ("scale", with_value(np.nan), "to_q.scale holds a value that is infinite or not a number"),
    ("scale", with_value(np.inf), "to_q.scale holds a value that is infinite or not a number"),
    ("scale", lambda dtype, array: None, "attn.qkv has no ::scale, expected ::codes2b, ::scale"),
    ("shape", lambda dtype, array: None, "attn.qkv has no ::shape, expected ::codes2b, ::scale"),
    ("shape", lambda dtype, array: (dtype, array[::-1]),
     "attn.qkv is U8 [1344, 112], expected U8 [448, 1344/4] by its ::shape [448, 1344]"),
    ("shape", lambda dtype, array: ("F32", array), "has ::shape F32 [2], expected two whole"),
    ("codes2b", lambda dtype, array: (dtype, array[:, 1:]),
     "attn.qkv is U8 [1344, 111], expected U8 [1344, 448/4]"),
    ("codes2b", lambda dtype, array: ("I8", array), "attn.qkv is I8 [1344, 112], expected U8"),
    ("scale", lambda dtype, array: (dtype, array[:, 1:]),
     "has scales F32 [1344, 3], expected floats [1344, groups] of which the groups divide 448"),
    ("scale", lambda dtype, array: (dtype, array[1:]), "has scales F32 [1343, 4], expected"),
    ("scale", lambda dtype, array: (dtype, np.repeat(array, 4, axis=1)),
     "has a scale for every 28 inputs, expected a multiple of 16, as the kernels take them: make "
     "the model with groups of 16, 32, 64, 112, 224 or 448, which divide its 448 inputs"),
])
def test_what_is_refused(tmp_path, part, change, says):
    path, _ = written(tmp_path / "m.safetensors", **edited(part, change))
    with pytest.raises(ExportError, match=re.escape(says)):
        opened(path).pack(next(iter(SPECS)))


def test_parts_that_are_not_known_and_weights_that_are_missing(tmp_path):
    path, _ = written(tmp_path / "m.safetensors", **{f"{QKV}::zero": ("F32", np.zeros(3))})
    with pytest.raises(ExportError, match="attn.qkv has ::zero, which this version does not know"):
        opened(path)
    parts = dict.fromkeys(packed_module(POINT, *random_module(D, F, 12)))
    path, _ = written(tmp_path / "m.safetensors", **parts)
    with pytest.raises(ExportError, match=r"2 tensors missing: .*conv_point\.codes2b"):
        opened(path)


def test_a_weight_that_is_whole_is_read_as_it_lies(tmp_path):
    trits, scales = random_module(D, F, F // 112, seed=7)
    whole = (trits * np.repeat(scales, 112, axis=1)).astype("<f4").reshape(D, F, 1, 1)
    parts = dict.fromkeys(packed_module(POINT, trits, scales))
    path, _ = written(tmp_path / "m.safetensors", **parts, **{f"{POINT}.weight": ("F32", whole)})
    packed = opened(path).pack("transformer_blocks.0.ff.conv_point.weight")
    assert packed.storage.group == 112 and (weights_of(packed) == whole.reshape(D, F)).all()
