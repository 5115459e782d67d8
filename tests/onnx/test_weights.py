"""Every storage in MatMulNBits: onnxruntime multiplies by unit vectors, which tells the weights."""

import numpy as np
import onnx
import onnxruntime
import pytest

from export.errors import ExportError
from export.onnx.external import ExternalData
from export.onnx.graph import Graph
from export.onnx.qwen3 import gather_rows
from export.onnx.weights import F16, F32, Weights, largest_block
from export.packing.formats import Packed, Storage, pack_trits, pack_words, round_bf16, widen_bf16
from export.packing.spec import LOWBIT, Spec

ROWS, COLUMNS = 24, 384
LEVELS = {"ternary": 3, "binary": 2, "affine1": 2, "affine2": 4, "affine4": 16, "affine8": 256}


def random_packed(kind, group, constant=False, faint=False):
    """A tensor and its weights in float64, by the first lines of packing/formats.py."""
    random = np.random.default_rng(5)
    codes = random.integers(0, LEVELS[kind], (ROWS, COLUMNS)).astype(np.uint8)
    grid = (ROWS, COLUMNS // group)
    scales = np.exp(0.3 * random.standard_normal(grid)).astype(np.float32) / 50
    biases = scales * random.uniform(-1, 0, grid).astype(np.float32) * (LEVELS[kind] - 1)
    scales[0, 0] = 0
    biases[0, 0] = 0.0625 if constant else 0
    if faint:
        scales[1:3] *= 1e-6  # below the normal numbers of f16
    stored = {"scales": round_bf16(scales), "biases": round_bf16(biases)}
    s, b = (np.repeat(widen_bf16(stored[p]).astype(float), group, axis=1) for p in stored)
    if kind.startswith("affine"):
        bits = int(kind.removeprefix("affine"))
        parts = {"codes": pack_words(codes, bits), **stored}
        weights = s * codes + b
    else:
        packed = pack_trits(codes) if kind == "ternary" else pack_words(codes, 1)
        parts = {"codes": packed, "scales": stored["scales"]}
        weights = s * (codes.astype(float) - {"ternary": 1, "binary": 0.5}[kind])
    return Packed(Storage(kind, (ROWS, COLUMNS), group, "bf16"), parts), weights


def session(folder, packed, half, build, tables=()):
    """onnxruntime on the graph that build(graph) writes around the weight `linear`."""
    data = ExternalData(folder, "model.onnx_data")
    weights = Weights(data, half, tables)
    weights.take("linear.weight", Spec(packed.storage.shape, LOWBIT), packed)
    data.close()
    graph = Graph("test", weights)
    build(graph)
    onnx.save(graph.model({}, "0"), folder / "model.onnx")
    onnx.checker.check_model(folder / "model.onnx", full_check=True)
    return onnxruntime.InferenceSession(folder / "model.onnx"), weights


def multiplied(folder, packed, half):
    """[N, K], read out row by row, and the form of the weight."""

    def build(graph):
        x = graph.input("x", F32, ["batch", "tokens", COLUMNS])
        y = graph.linear(x, "linear")
        graph.output("y", graph.cast(y, F32), ["batch", "tokens", ROWS])

    runtime, weights = session(folder, packed, half, build)
    (y,) = runtime.run(None, {"x": np.eye(COLUMNS, dtype=np.float32)[None]})
    return y[0].T, weights["linear.weight"]


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("kind", ["ternary", "binary"])
def test_low_bits_are_exact(tmp_path, kind, half):
    packed, want = random_packed(kind, 128)
    got, form = multiplied(tmp_path, packed, half)
    assert (form.bits, form.block, form.rest) == (2, 128, None)
    assert form.scales.element == (F16 if half else F32)
    assert (got == want).all()


@pytest.mark.parametrize("kind", ["affine1", "affine2", "affine4", "affine8"])
def test_what_a_whole_zero_leaves_is_added(tmp_path, kind):
    packed, want = random_packed(kind, 64, constant=True)
    got, form = multiplied(tmp_path, packed, half=False)
    assert form.rest is not None and form.block == 64
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-7 * np.abs(want).max())
    assert (got[0, :64] == 0.0625).all()


def test_a_block_of_one_sign_leaves_no_rest(tmp_path):
    """Binary weights as an affine packer has them: bias = -scale / 2, but for a constant block."""
    packed, _ = random_packed("affine1", 128, constant=True)
    scales = packed.parts["scales"]
    biases = round_bf16(-widen_bf16(scales) / 2)
    biases[0, 0] = round_bf16(np.float32([0.0625]))[0]
    packed.parts["biases"] = biases
    got, form = multiplied(tmp_path, packed, half=True)
    assert form.rest is None and (got[0, :128] == 0.0625).all()
    magnitude = np.repeat(widen_bf16(scales) / 2, 128, axis=1)
    assert (np.abs(got[1:]) == magnitude[1:]).all()


def test_scales_that_16_bits_would_round_stay_in_32(tmp_path):
    packed, want = random_packed("ternary", 128, faint=True)
    got, form = multiplied(tmp_path, packed, half=True)
    assert form.scales.element == F32 and (got == want).all()


def test_groups_that_are_no_power_of_two(tmp_path):
    packed, want = random_packed("affine4", 96)
    got, form = multiplied(tmp_path, packed, half=False)
    assert form.block == 32
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-7 * np.abs(want).max())
    assert largest_block(256) == 128
    with pytest.raises(ExportError, match="a group of 24 inputs"):
        largest_block(24)


@pytest.mark.parametrize("kind", ["affine4", "affine8"])
def test_rows_of_a_table(tmp_path, kind):
    packed, want = random_packed(kind, 64)

    def build(graph):
        ids = graph.input("ids", onnx.TensorProto.INT64, ["batch", "tokens"])
        rows = gather_rows(graph, "linear.weight", ids)
        graph.output("rows", rows, ["batch", "tokens", COLUMNS])

    runtime, _ = session(tmp_path, packed, True, build, tables=("linear.weight",))
    (rows,) = runtime.run(None, {"ids": np.array([[3, 0], [23, 3]])})
    np.testing.assert_allclose(rows, want[[[3, 0], [23, 3]]], rtol=0,
                               atol=3e-7 * np.abs(want).max())


def test_files_stay_below_their_limit(tmp_path):
    data = ExternalData(tmp_path, "m.onnx_data", largest=1000)
    tensors = [data.write(f"t{i}", F32, (50,), [np.full(25, i, "<f4")] * 2) for i in range(9)]
    data.close()
    assert data.files == ["m.onnx_data", "m.onnx_data_1", "m.onnx_data_2"]
    assert all((tmp_path / file).stat().st_size <= 1000 for file in data.files)
    for i, tensor in enumerate(tensors):
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert int(place["offset"]) % 64 == 0 and int(place["length"]) == 200
        stored = (tmp_path / place["location"]).read_bytes()[int(place["offset"]):][:200]
        assert (np.frombuffer(stored, "<f4") == i).all()
