"""Every layout whose groups are not its file format's own takes any multiple of 16, exactly."""

from pathlib import Path

import numpy as np
import pytest

from export.errors import ExportError
from export.layouts import Floats, MlxAffine, MlxPacked, Unpacked
from export.layouts.gemlite import METADATA, Gemlite
from export.layouts.hqq import META, Hqq
from export.layouts.mlx_grid import sibling
from export.layouts.naming import Renamed
from export.layouts.native import Native
from export.packing.spec import LINEAR, LOWBIT, Spec, check_complete
from export.source.safetensors import Checkpoint, Entry, Tensor, Tensors
from tests.export.tiny import bf16, pack_bits, save

GROUPS = (16, 48, 96, 112, 160)
ROWS, NAME = 6, "a.weight"


class Held(Tensors):
    """Tensors in memory: name -> (dtype, array)."""

    def __init__(self, folder, tensors, values=()):
        self.folder, self.tensors, self.values = Path(folder), tensors, dict(values)
        self.entries = {name: Entry(self.folder, dtype, array.shape, 0, array.nbytes)
                        for name, (dtype, array) in tensors.items()}

    def read(self, name, first=0, last=None):
        dtype, array = self.tensors[name]
        return Tensor(name, dtype, array[first:last])


def codes_of(packed):
    """Integers [N, K] of a Packed, by arithmetic of this test's own."""
    storage, data = packed.storage, packed.parts["codes"].reshape(-1).view(np.uint8)
    rows, columns = storage.shape
    if storage.kind == "ternary":
        digits = np.stack([data // 3**i % 3 for i in range(5)], 1).reshape(-1)
        return digits[: rows * columns].reshape(rows, columns).astype(int)
    bits = {"binary": 1}.get(storage.kind) or int(storage.kind.removeprefix("affine"))
    planes = np.unpackbits(data, bitorder="little").reshape(rows, columns, bits)
    return (planes.astype(int) << np.arange(bits)).sum(axis=-1)


def weights_of(packed):
    """Weights, float64 [N, K]."""
    def each(part):
        stored, kind = packed.parts[part], packed.storage.scales_dtype
        values = (stored.astype("<u4") << 16).view("<f4") if kind == "bf16" else stored
        return np.repeat(values.astype(float), packed.storage.group, axis=1)

    middle = {"ternary": 1, "binary": 0.5}.get(packed.storage.kind, 0)
    biases = each("biases") if "biases" in packed.parts else 0
    return each("scales") * (codes_of(packed) - middle) + biases


def random_model(group, levels):
    """codes [N, K] below `levels`, and scales [N, K/group] that f16 and bf16 hold."""
    random = np.random.default_rng(group)
    codes = random.integers(0, levels, (ROWS, 4 * group)).astype(np.uint8)
    return codes, random.integers(1, 128, (ROWS, 4)) / 256.0


def packed_by(layout_class, tensors, spec, tmp_path, values=()):
    layout = layout_class(Held(tmp_path, tensors, values), {NAME: spec})
    check_complete("a model", layout.expected(), layout.checkpoint.entries, lambda name: None)
    packed = layout.pack(NAME)
    assert layout.storage(NAME) == packed.storage
    return packed


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("layout", [Unpacked, Native, MlxPacked, Gemlite])
def test_lowbit(layout, levels, group, tmp_path):
    codes, scales = random_model(group, levels)
    step = scales if levels == 3 else 2 * scales
    weights = np.repeat(step, group, axis=1) * (codes - (levels - 1) / 2)
    bits = levels - 1
    stored = {
        Unpacked: lambda: {NAME: ("BF16", bf16(weights))},
        Native: lambda: {NAME: ("F32", weights.astype("<f4"))},
        MlxPacked: lambda: {
            NAME: ("U32", pack_bits(codes, bits)), "a.scales": ("BF16", bf16(step)),
            "a.biases": ("BF16", bf16(-scales)),
        },
        Gemlite: lambda: gemlite(codes, step, -scales, bits, group),
    }[layout]()
    packed = packed_by(layout, stored, Spec(codes.shape, LOWBIT), tmp_path)
    assert packed.storage.kind == ("ternary" if levels == 3 else "binary")
    assert packed.storage.group == group
    assert (weights_of(packed) == weights).all()


@pytest.mark.parametrize("layout", [Unpacked, Native])
def test_binary_rows_that_fill_no_whole_words_are_ternary(layout, tmp_path):
    weights = np.repeat([[0.5, 1, 2]], 48, axis=1) * np.resize([1, -1, -1, 1, 1], (ROWS, 144))
    stored = {NAME: ("BF16", bf16(weights))}
    packed = packed_by(layout, stored, Spec(weights.shape, LOWBIT), tmp_path)
    assert (packed.storage.kind, packed.storage.group) == ("ternary", 48)
    assert (weights_of(packed) == weights).all()


def gemlite(codes, scales, zeros, bits, group):
    about = {"W_nbits": bits, "group_size": group, "elements_per_sample": 8 // bits,
             "W_group_mode": 4, "channel_scale_mode": 0}
    return {
        "a.W_q": ("U8", pack_bits(codes, bits).view(np.uint8).T),
        "a.scales": ("F32", scales.T.astype("<f4")), "a.zeros": ("F32", zeros.T.astype("<f4")),
        "a.metadata": ("I32", np.array([about.get(key, 0) for key in METADATA], "<i4")),
        "a.orig_shape": ("I32", np.array(codes.shape, "<i4")),
    }


@pytest.mark.parametrize(("columns", "group", "stored"), [
    (2240, 64, 64), (2240, 32, 64), (160, 32, 32), (448, 16, 64),
])
def test_packed_neighbours_of_one_scale_are_one_group(columns, group, stored, tmp_path):
    """Here pairs of 32, or runs of 64 inputs; an odd number of groups stays as it is."""
    random = np.random.default_rng(columns)
    codes = random.integers(0, 3, (ROWS, columns)).astype(np.uint8)
    scales = random.integers(1, 128, (ROWS, -(-columns // 64))) / 256
    scales = np.repeat(scales, 64 // group, axis=1)[:, : columns // group]
    held = {NAME: ("U32", pack_bits(codes, 2)), "a.scales": ("BF16", bf16(scales)),
            "a.biases": ("BF16", bf16(-scales))}
    packed = packed_by(MlxPacked, held, Spec(codes.shape, LOWBIT), tmp_path)
    assert packed.storage.group == stored
    assert (weights_of(packed) == np.repeat(scales, group, axis=1) * (codes - 1.0)).all()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("layout", [MlxAffine, Hqq])
def test_quantised_linears(layout, group, tmp_path):
    codes, scales = random_model(group, 16)
    zeros = np.random.default_rng(1).integers(1, 15, scales.shape)
    weights = np.repeat(scales, group, axis=1) * (codes - np.repeat(zeros, group, axis=1))
    values = {}
    if layout is MlxAffine:
        stored = {NAME: ("U32", pack_bits(codes, 4)), "a.scales": ("F32", scales.astype("<f4")),
                  "a.biases": ("F32", (-zeros * scales).astype("<f4"))}
    else:
        runs = codes.reshape(-1, group)
        half = len(runs) // 2
        column = lambda array: ("F32", array.reshape(-1, 1).astype("<f4"))  # noqa: E731
        stored = {"a.W_q": ("U8", runs[:half] << 4 | runs[half:]),
                  "a.meta.scale": column(scales), "a.meta.zero": column(zeros)}
        values = {f"a.meta.{key}": value for key, value in META.items()}
        values |= {"a.meta.shape": codes.shape, "a.meta.group_size": group}
    packed = packed_by(layout, stored, Spec(codes.shape, LINEAR), tmp_path, values)
    assert (packed.storage.kind, packed.storage.group) == ("affine4", group)
    assert (weights_of(packed) == weights).all()


@pytest.mark.parametrize("group", [8, 24])
def test_groups_that_no_kernel_takes(group, tmp_path):
    """Named with the group that the file has, in every layout that says its group."""
    codes, scales = random_model(group, 3)
    words = {NAME: ("U32", pack_bits(codes, 2)), "a.scales": ("BF16", bf16(scales)),
             sibling(NAME, "biases"): ("BF16", bf16(-scales))}
    state = gemlite(codes, scales, -scales, 2, group)
    for layout, stored in ((MlxPacked, words), (Gemlite, state)):
        with pytest.raises(ExportError) as error:
            layout(Held(tmp_path, stored), {NAME: Spec(codes.shape, LOWBIT)})
        said = str(error.value)
        assert f"{group}, expected a multiple of 16 that divides {4 * group} inputs" in said
        assert NAME in said


def test_what_is_quantised_here_has_its_own_group(tmp_path):
    values = np.random.default_rng(0).integers(-128, 128, (ROWS, 192)) / 256
    held = Held(tmp_path, {NAME: ("BF16", bf16(values))})
    layout = Floats(held, {NAME: Spec(values.shape, LINEAR)}, 4)
    assert layout.pack(NAME).storage.group == 64


WIDTHS = (2240, 5600, 1152, 2880)  # of Sana 1.6B and 0.6B: the model's and its MLP's


def grid_weights(columns, group, rows=ROWS):
    """f32 [rows, columns], ternary in groups of that width, that bf16 holds."""
    random = np.random.default_rng(columns + group)
    scales = random.permutation(np.arange(1, 1 + rows * (columns // group))) % 127 + 1
    scales = scales.reshape(rows, -1) / 256.0
    return np.repeat(scales, group, axis=1) * random.integers(-1, 2, (rows, columns))


@pytest.mark.parametrize(("columns", "group"), [
    *((2240, g) for g in (16, 32, 80, 112, 160, 224, 320, 560, 1120, 2240)),
    *((5600, g) for g in (80, 112, 160, 224, 560, 5600)),
    *((columns, g) for columns in (1152, 2880) for g in (32, 64, 96, 144, 192)),
    (2880, 2880), (1152, 1152), (1152, 384),
])
def test_the_widths_of_other_families(columns, group, tmp_path):
    """Be it a scale for a whole row."""
    assert columns in WIDTHS
    weights = grid_weights(columns, group)
    packed = packed_by(Unpacked, {NAME: ("BF16", bf16(weights))}, Spec(weights.shape, LOWBIT),
                       tmp_path)
    assert (packed.storage.group, packed.storage.scales_dtype) == (group, "bf16")
    assert (weights_of(packed) == weights).all()


@pytest.mark.parametrize(("cut", "stored"), [(0, 960), (192, 192), (640, 320)])
@pytest.mark.parametrize("of_all", [False, True])
@pytest.mark.parametrize("layout", [Unpacked, MlxPacked, Gemlite])
def test_a_scale_for_each_row(layout, of_all, cut, stored, tmp_path):
    """Or one for all: stored once for a row, or for the widest part of it that a cut leaves whole.

    As MLX and GemLite have it the one group of a row, or many alike, is the same.
    """
    random = np.random.default_rng(cut)
    codes = random.integers(0, 3, (ROWS, 960)).astype(np.uint8)
    codes[0, :320] = 1  # where no weight tells the scale
    scales = np.full((ROWS, 1), 0.75) if of_all else random.integers(1, 128, (ROWS, 1)) / 256
    weights = scales * (codes - 1.0)
    for groups in (1, 15) if layout is not Unpacked else (1,):
        each = np.repeat(scales, groups, axis=1)
        held = {
            Unpacked: lambda: {NAME: ("BF16", bf16(weights))},
            MlxPacked: lambda: {NAME: ("U32", pack_bits(codes, 2)),
                                "a.scales": ("BF16", bf16(each)),  # noqa: B023
                                "a.biases": ("BF16", bf16(-each))},  # noqa: B023
            Gemlite: lambda: gemlite(codes, each, -each, 2, 960 // groups),  # noqa: B023
        }[layout]()
        packed = packed_by(layout, held, Spec(codes.shape, LOWBIT, cut=cut), tmp_path)
        assert packed.storage.group == stored
        assert packed.storage.gpu_bytes == ROWS * (960 / 4 + 2 * 960 / stored)
        assert (weights_of(packed) == weights).all()


# The last two do not divide a row, whose last group is narrower.
@pytest.mark.parametrize("group", [8, 20, 28, 35, 40, 56, 70, 140, 280, 100, 1000])
def test_groups_that_no_storable_one_divides(group, tmp_path):
    weights = grid_weights(-(-2240 // group) * group, group)[:, :2240]
    layout = Unpacked(Held(tmp_path, {NAME: ("BF16", bf16(weights))}),
                      {NAME: Spec(weights.shape, LOWBIT)})
    with pytest.raises(ExportError) as error:
        layout.pack(NAME)
    assert str(error.value).endswith(
        f"{NAME} is ternary in groups of {group}; this version packs multiples of 16, as its "
        "kernels take them: make the model with groups of 16, 32, 64, 80, 112, 160, 224, 320, "
        "448, 560, 1120 or 2240, which divide its 2240 inputs")


def test_inputs_that_are_no_multiple_of_16(tmp_path):
    held = Held(tmp_path, {NAME: ("BF16", bf16(np.ones((4, 40))))})
    with pytest.raises(ExportError, match="a.weight has 40 inputs, expected a multiple of 16"):
        Unpacked(held, {NAME: Spec((4, 40), LOWBIT)}).pack(NAME)


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_scales_have_the_fewest_bits_that_hold_them(dtype, tmp_path):
    """Of f32 weights 16 bits where those are exact, else f32; of bf16 ones their own."""
    for factor, stored in ((1.0, "bf16"), (1 + 2.0**-9, "f16"), (1 + 2.0**-20, "f32")):
        weights = (np.sign(grid_weights(160, 160)) * factor).astype("<f4")
        held = {NAME: (dtype, weights if dtype == "F32" else bf16(weights))}
        packed = packed_by(Unpacked, held, Spec(weights.shape, LOWBIT), tmp_path)
        assert packed.storage.scales_dtype == (stored if dtype == "F32" else "bf16")


def test_convolutions_of_one_by_one_are_matrices(tmp_path):
    """In a file as it lies there, and where rows of other tensors make it up."""
    weights = grid_weights(160, 80).astype("<f4")
    path = tmp_path / "m.safetensors"
    save(path, {NAME: ("F32", weights[..., None, None]),
                "b.weight": ("F32", np.ones((4, 4, 3, 3)))})

    def halves(name, rows):
        return {f"{name}.{i}": [(i * rows // 2, rows // 2)] for i in (0, 1)}

    for source, name, rows in ((Checkpoint(path), NAME, slice(None)),
                               (Renamed(Checkpoint(path), halves), f"{NAME}.1", slice(3, 6))):
        specs = {name: Spec(weights[rows].shape, LOWBIT)}
        source.flatten({name: spec.shape for name, spec in specs.items()} | {"b.weight": (4, 4)})
        packed = Unpacked(source, specs).pack(name)
        assert packed.storage.shape == specs[name].shape
        assert (weights_of(packed) == weights[rows]).all()
    assert Checkpoint(path).read("b.weight").data.shape == (4, 4, 3, 3)
