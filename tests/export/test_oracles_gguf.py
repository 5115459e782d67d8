"""The gguf package beside our reader: it writes, we read; and both say the same of odd files.

The package is llama.cpp's own, so what it writes is what GGUF is.
"""

import struct

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Value
from gguf import quants

from export.errors import ExportError
from export.source.gguf import SCALARS, Gguf
from export.source.gguf_types import BLOCKS, FLOATS, ROUNDED, UNREAD, split_scales, split_ternary

LOWBIT = (Type.Q1_0, Type.TQ1_0, Type.TQ2_0)
SHAPES = ((256,), (3, 512), (1, 256), (2, 3, 256), (2, 1, 2, 256))


def write(path, tensors, pairs=(), alignment=None):
    """tensors: (name, array, type of raw bytes or None); pairs: add_key_value's arguments."""
    writer = gguf.GGUFWriter(path, "flux")
    if alignment:
        writer.add_custom_alignment(alignment)
    for pair in pairs:
        writer.add_key_value(*pair)
    for name, data, kind in tensors:
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def lowbit(rng, kind, shape):
    """The package's bytes of random weights in {-1, 0, 1} x the scale of their row."""
    weights, size = gguf.GGML_QUANT_SIZES[kind]
    if kind == Type.Q1_0:  # which the package can name, but not make
        blocks = rng.integers(0, 256, (*shape[:-1], shape[-1] // weights, size), np.uint8)
        scales = rng.uniform(0.01, 2, (*blocks.shape[:-1], 1)).astype("<f2")
        blocks[..., :2] = scales.view(np.uint8)
        return blocks.reshape(*shape[:-1], -1)
    scales = rng.uniform(0.01, 2, (*shape[:-1], 1)).astype("f2").astype("f4")
    return quants.quantize(rng.integers(-1, 2, shape).astype("f4") * scales, kind)


def float32(tensor):
    """A tensor as our layouts see it, as numbers."""
    if tensor.dtype == "Q1_0":
        scales, codes = split_scales(tensor.data)
        signs = np.unpackbits(codes, axis=-1, bitorder="little").astype("f4") * 2 - 1
        return (scales[..., None] * signs).reshape(len(codes), -1)
    if tensor.dtype in ("TQ1_0", "TQ2_0"):
        scales, codes = split_ternary(tensor.dtype, tensor.data)
        group = codes.shape[1] // scales.shape[1]
        return np.repeat(scales.astype("f4"), group, axis=1) * (codes.astype("f4") - 1)
    return tensor.float32()


@pytest.mark.parametrize("alignment", [None, 8, 32, 64, 256, 4096])
@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.TQ1_0, Type.TQ2_0])
def test_values_of_every_type_that_the_package_makes(tmp_path, kind, alignment):
    """Its own dequantisation is the truth; the neighbours must not move anything."""
    rng = np.random.default_rng([kind, alignment or 0])
    tensors = []
    for i, shape in enumerate(SHAPES):
        values = rng.standard_normal(shape).astype("f4")
        data = lowbit(rng, kind, shape) if kind in LOWBIT else quants.quantize(values, kind)
        native = kind in (Type.F32, Type.F16)
        tensors.append((f"t{i}", data, None if native else kind))
        tensors.append((f"odd{i}", rng.standard_normal(i + 1).astype("f4"), None))
    checkpoint = Gguf(write(tmp_path / "x.gguf", tensors, alignment=alignment))
    assert [*checkpoint.entries] == [name for name, *_ in tensors]
    for name, data, made in tensors:
        want = quants.dequantize(data, made if made is not None else Type.F32)
        if data.dtype == np.float16:
            want = data.astype("f4")
        got = float32(checkpoint.read(name))
        assert checkpoint.entries[name].shape == want.shape
        assert (got.reshape(want.shape) == want).all(), name


@pytest.mark.parametrize("kind", [Type.Q8_0, *LOWBIT])
def test_rows_of_blocks(tmp_path, kind):
    rng = np.random.default_rng(kind)
    data = lowbit(rng, kind, (6, 512)) if kind in LOWBIT else quants.quantize(
        rng.standard_normal((6, 512)).astype("f4"), kind)
    checkpoint = Gguf(write(tmp_path / "x.gguf", [("a", data, kind)]))
    whole = float32(checkpoint.read("a"))
    if kind != Type.Q1_0:
        assert (whole == quants.dequantize(data, kind)).all()
    for first, last in ((0, 1), (2, 5), (1, None), (3, 99)):
        assert (float32(checkpoint.read("a", first, last)) == whole[first:last]).all()
    assert len(checkpoint.read("a", 4, 4).data) == 0


def test_binary_blocks_by_hand(tmp_path):
    """The package names Q1_0 and knows its size; its numbers are (2 bit - 1) x scale."""
    rng = np.random.default_rng(1)
    data = lowbit(rng, Type.Q1_0, (4, 256))
    checkpoint = Gguf(write(tmp_path / "x.gguf", [("a", data, Type.Q1_0)]))
    assert checkpoint.entries["a"].block == gguf.GGML_QUANT_SIZES[Type.Q1_0]
    block = data[2, 18:36]  # row 2, weights 128 to 255
    scale = float(block[:2].view("<f2")[0])
    want = [scale if block[2 + i // 8] >> i % 8 & 1 else -scale for i in range(128)]
    assert float32(checkpoint.read("a"))[2, 128:].tolist() == want


def test_names_numbers_and_sizes_of_types_are_the_package_s():
    """Types of forks (Q2_0, PQ2_0, PTQ1_0) are not in it."""
    names = {kind.value: kind.name for kind in Type}
    ours = FLOATS | ROUNDED | UNREAD | {kind: name for kind, (name, _) in BLOCKS.items()}
    forks = {"Q2_0", "PQ2_0", "PTQ1_0"}
    assert {number: name for number, name in ours.items() if name not in forks} == names
    for kind, (name, sizes) in BLOCKS.items():
        if name not in forks:
            assert list(sizes.items()) == [gguf.GGML_QUANT_SIZES[Type(kind)]]


@pytest.mark.parametrize("kind", [k for k in Type if k in (*ROUNDED, *UNREAD)])
def test_every_other_type_has_an_entry(tmp_path, kind):
    """A tensor that nobody reads does not stand in the way of its neighbours."""
    weights, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.zeros((3, 2 * size), np.uint8)
    after = np.arange(7, dtype="f4")
    tensors = [("a", after, None), ("odd", data, kind), ("b", after + 1, None)]
    checkpoint = Gguf(write(tmp_path / "x.gguf", tensors))
    assert checkpoint.entries["odd"].dtype == kind.name
    assert checkpoint.entries["odd"].shape == (3, 2 * weights)
    assert (checkpoint.read("b").data == after + 1).all()


NUMBERS = {
    Value.UINT8: 255, Value.INT8: -128, Value.UINT16: 65535, Value.INT16: -32768,
    Value.UINT32: 4294967295, Value.INT32: -2147483648, Value.FLOAT32: 0.15625, Value.BOOL: True,
    Value.UINT64: (1 << 64) - 1, Value.INT64: -(1 << 63), Value.FLOAT64: 1e300,
}


def test_values_of_every_type_that_the_package_has(tmp_path):
    assert {*SCALARS} == {kind.value for kind in NUMBERS}
    pairs = [(f"n.{kind.name}", value, kind) for kind, value in NUMBERS.items()]
    pairs += [(f"many.{kind.name}", [value] * 5, Value.ARRAY, kind)
              for kind, value in NUMBERS.items()]
    pairs += [("text", "木\n🍀\0 x", Value.STRING), ("empty", "", Value.STRING),
              ("ключ 鍵", "value", Value.STRING), ("long", "y" * 300_000, Value.STRING),
              ("texts", ["", "é", "z" * 70_000], Value.ARRAY),
              ("nested", [[1, 2], [3]], Value.ARRAY, Value.ARRAY),
              ("deep", [[["a"], ["b", "c"]], [["d"]]], Value.ARRAY, Value.ARRAY),
              ("tokens", [f"<{i}>" for i in range(3000)], Value.ARRAY)]
    data = np.arange(12, dtype="f4").reshape(3, 4)
    path = write(tmp_path / "x.gguf", [("a", data, None)], pairs, alignment=128)
    read = Gguf(path)
    for key, value, kind, *_ in pairs:
        assert read.values[key] == (True if kind == Value.ARRAY else value), key
        assert type(read.values[key]) is (bool if kind == Value.ARRAY else type(value))
    assert read.values["general.architecture"] == "flux"
    assert {*read.values} == {k for k in gguf.GGUFReader(path).fields if not k.startswith("GGUF.")}
    assert (read.read("a").data == data).all()


@pytest.mark.parametrize("name", ["", " ", "木.weight", "a" * 3000, "é\n\t", "🍀", "a/b\\c:d"])
def test_odd_names(tmp_path, name):
    data = np.arange(4, dtype="f2")
    checkpoint = Gguf(write(tmp_path / "x.gguf", [(name, data, None), ("b", data + 1, None)]))
    assert (checkpoint.read(name).data == data).all()


def test_many_tensors(tmp_path):
    """A header of 170 KB, and data in pieces of a block."""
    tensors = [(f"blk.{i}.ffn_norm.weight", np.full(i % 9 + 1, i, "f4"), None) for i in range(3000)]
    checkpoint = Gguf(write(tmp_path / "x.gguf", tensors))
    theirs = gguf.GGUFReader(tmp_path / "x.gguf").tensors
    assert [(t.name, int(t.data_offset)) for t in theirs] == [
        (name, entry.start) for name, entry in checkpoint.entries.items()]
    for name, data, _ in tensors[::7]:
        assert (checkpoint.read(name).data == data).all()


def test_empty_tensors(tmp_path):
    """First, between and last; the package writes them without a byte."""
    full, none = np.arange(40, dtype="f4"), np.zeros((0, 8), "f4")
    tensors = [("none.0", none, None), ("a", full, None), ("none.1", none, None),
               ("none.2", none.astype("f2"), None), ("b", full + 1, None),
               ("none.3", np.zeros((8, 0), "f4"), None)]
    checkpoint = Gguf(write(tmp_path / "x.gguf", tensors))
    for name, data, _ in tensors:
        read = checkpoint.read(name).data
        assert read.shape == data.shape and (read == data).all()


def refused_by_both(path, says):
    with pytest.raises((ValueError, KeyError, IndexError, OverflowError, TypeError)):
        gguf.GGUFReader(path)
    with pytest.raises(ExportError, match=says) as failure:
        Gguf(path)
    assert str(path) in str(failure.value)


BYTES = [  # where in a file of one tensor "a", [4] F32, and "general.architecture": "flux"
    ("another magic", 0, b"GGUX", "is no GGUF file"),
    ("another version", 4, struct.pack("<I", 7), "is GGUF version 7"),
    ("more tensors", 8, struct.pack("<Q", 1 << 22), "has [0-9]+ dimensions, expected at most 4"),
    ("a type of value", 52, struct.pack("<I", 13), "unknown type 13"),
    ("a dimension of 2^62", 77 + 4, struct.pack("<Q", 1 << 62), "are damaged"),
    ("an offset past the end", 77 + 4 + 8 + 4, struct.pack("<Q", 1 << 20), "and the file has"),
]


@pytest.mark.parametrize(("at", "new", "says"), [case[1:] for case in BYTES],
                         ids=[case[0] for case in BYTES])
def test_what_the_package_refuses(tmp_path, at, new, says):
    path = write(tmp_path / "x.gguf", [("a", np.arange(4, dtype="f4"), None)])
    data = path.read_bytes()
    assert data[32:52] == b"general.architecture" and data[64:68] == b"flux" and data[76:77] == b"a"
    path.write_bytes(data[:at] + new + data[at + len(new) :])
    refused_by_both(path, says)


def test_two_tensors_or_pairs_of_one_name(tmp_path):
    for key in ("aa", "kk"):
        path = write(tmp_path / "x.gguf", [(f"{key}1", np.arange(4, dtype="f4"), None),
                                           (f"{key}2", np.arange(4, dtype="f4"), None)],
                     [(f"{key}3", 1, Value.UINT8), (f"{key}4", 2, Value.UINT8)])
        data = path.read_bytes()
        old, new = (b"aa2", b"aa1") if key == "aa" else (b"kk4", b"kk3")
        path.write_bytes(data.replace(old, new))
        refused_by_both(path, "two tensors have one name|two values have the name kk3")


def test_a_file_cut_anywhere(tmp_path):
    path = write(tmp_path / "x.gguf", [("a", np.arange(64, dtype="f4"), None)])
    data = path.read_bytes()
    for kept in range(0, len(data), 7):
        path.write_bytes(data[:kept])
        with pytest.raises(ExportError, match=r"no GGUF file|end inside|ends at byte"):
            Gguf(path)
