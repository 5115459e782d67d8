"""GGUF: the types that hold ternary or binary weights exactly, and files as other tools leave them.
"""

import struct

import numpy as np
import pytest

from export.errors import ExportError
from export.source import gguf_types
from export.source.gguf import Gguf
from tests.export.packed import PackedSite
from tests.fullscale import formats
from tests.fullscale.flux2 import GROUP
from tests.fullscale.formats import Part, gguf_text, write_gguf
from tests.fullscale.layouts import base3_blocks, gguf_lowbit, native_parts, write, write_gguf_file
from tests.fullscale.model import Model

LAST = "single_blocks.1.linear2.weight"  # [128, 512]


@pytest.fixture(scope="module")
def model():
    return Model("tiny", "ternary")


def weights(model, name):
    codes, scales = model.lowbit(name)
    return np.repeat(scales.astype(float), GROUP, axis=1) * (codes.astype(float) - 1)


def built(build, folder, out):
    result = build("--model", folder, "--out", out)
    assert result.status == 0, result.stderr
    return PackedSite(out)


def check(site, model):
    """Every low-bit weight is the model's, exactly."""
    for name in (name for name in model.transformer if model.is_lowbit(name)):
        assert (site.weight(f"transformer.{name}") == weights(model, name)).all(), name


def only_last(model, kind, block=GROUP):
    """Parts of which one alone has a low-bit type, the last one in the file."""
    make = gguf_lowbit(model, kind, block)

    def part(native, names, shape):
        if native == LAST:
            return make(native, names, shape)
        return Part(native, "BF16", shape, lambda: (model.weights(name) for name in names))

    parts = native_parts(model, part)
    return sorted(parts, key=lambda p: p.name == LAST)


@pytest.mark.parametrize("kind", ["PQ2_0", "PTQ1_0"])
def test_types_142_and_143_are_lossless(build, model, tmp_path, kind):
    write(model, f"gguf-{kind.lower()}", tmp_path / "m")
    site = built(build, tmp_path / "m", tmp_path / "site")
    check(site, model)
    lowbit = [t for t in site.manifest["tensors"].values() if t["storage"] == "ternary"]
    assert len(lowbit) == 28 and {t["group"] for t in lowbit} == {128}


def test_base_3_pins_its_digits():
    """Weights 0, 16, 32, 48 and 64 are in byte 0, the first as the highest digit; of 80 to 119 one

    in eight; of the last eight every other one, with a digit less.
    """
    block = np.zeros((1, 1, 28), np.uint8)
    block[0, 0, 0] = 186  # 0.20112 in base 3: 176 / 243, rounded up to 256ths
    block[0, 0, 17] = 86  # 0.1
    block[0, 0, 25] = 200  # 0.2100: 189 / 243
    block[0, 0, 26:] = np.frombuffer(np.float16(0.75).tobytes(), np.uint8)
    scales, codes = gguf_types.split_ternary("PTQ1_0", block)
    want = np.zeros(128, int)
    want[[0, 32, 48, 64]] = 2, 1, 1, 2
    want[81], want[121], want[123] = 1, 2, 1
    assert scales.tolist() == [[0.75]] and codes[0].tolist() == want.tolist()


def test_tq2_0_pins_its_bits():
    block = np.zeros((1, 1, 66), np.uint8)
    block[0, 0, 3] = 0b10_01_00_10  # weights 3, 35, 67, 99
    block[0, 0, 40] = 0b00_00_01_00  # 128 + 8 + 32
    block[0, 0, 64:] = np.frombuffer(np.float16(2).tobytes(), np.uint8)
    scales, codes = gguf_types.split_ternary("TQ2_0", block)
    want = np.zeros(256, int)
    want[[3, 67, 99, 168]] = 2, 1, 2, 1
    assert scales.tolist() == [[2]] and codes[0].tolist() == want.tolist()


def in_blocks_of_256(model, kind, codes, scales):
    """The parts of a file whose last tensor has blocks of 256."""
    codes = codes.reshape(-1, 256)
    if kind == "TQ1_0":
        data = base3_blocks(codes, scales, ((32, 5), (16, 5), (4, 4)))
    else:
        runs = codes.reshape(-1, 2, 4, 32)
        packed = sum(runs[:, :, n] << np.uint8(2 * n) for n in range(4)).reshape(-1, 64)
        stored = np.ascontiguousarray(scales, "<f2").reshape(-1, 1).view(np.uint8)
        data = np.concatenate([packed.astype(np.uint8), stored], axis=1)
    parts = only_last(model, "Q2_0")
    parts[-1] = Part(LAST, kind, (128, 512), lambda: [data], data.nbytes)
    return parts


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_blocks_of_256(build, model, tmp_path, kind):
    """Read exactly; a file that was rounded into them from groups of 128 is refused."""
    random = np.random.default_rng(5)
    codes = random.integers(0, 3, (128, 512)).astype(np.uint8)
    scales = (random.integers(1, 64, (128, 2)) / 64).astype("<f2")
    write(model, "gguf", tmp_path / "m")
    path = next((tmp_path / "m").glob("*.gguf"))
    write_gguf(path, in_blocks_of_256(model, kind, codes, scales))
    site = built(build, tmp_path / "m", tmp_path / "site")
    name = "transformer.single_transformer_blocks.1.attn.to_out.weight"
    want = np.repeat(scales.astype(float), 256, axis=1) * (codes.astype(float) - 1)
    assert (site.weight(name) == want).all()
    codes[7, 128:256] = 1
    write_gguf(path, in_blocks_of_256(model, kind, codes, scales))
    result = build("--model", tmp_path / "m", "--out", tmp_path / "other")
    assert result.status == 1 and "half of block 0 of row 7 is zero" in result.stderr


@pytest.mark.parametrize("block", [64, 128])
@pytest.mark.parametrize(("options", "last"), [
    ({}, False), ({}, True), ({"tail": bytes(1)}, True), ({"tail": bytes(31)}, True),
    ({"tail": bytes(1024)}, True), ({"tail": b"\x41" * 4096}, False), ({"version": 2}, True),
    ({"alignment": 64}, True), ({"alignment": 4096}, True),
    ({"alignment": 4096, "told": False}, True),
])
def test_one_block_size_in_a_file(build, model, tmp_path, block, options, last):
    """[128, 512] in blocks of 128 with 1,024 zero bytes behind it is as long as in blocks of 64."""
    write(model, "gguf", tmp_path / "m")
    path = next((tmp_path / "m").glob("*.gguf"))
    whole = native_parts(model, gguf_lowbit(model, "Q2_0", block))
    write_gguf(path, only_last(model, "Q2_0", block) if last else whole, **options)
    check(built(build, tmp_path / "m", tmp_path / "site"), model)


def zeros(kind, size):
    return lambda native, names, shape: Part(
        native, kind, shape, lambda: [np.zeros(shape[0] * shape[1] // size[0] * size[1], np.uint8)],
        shape[0] * shape[1] // size[0] * size[1],
    )


@pytest.mark.parametrize("block", [64, 128])
def test_a_name_tells_where_the_data_does_not(build, model, tmp_path, block):
    """All scales zero, and room for both: the file's name decides, and without it nothing does."""
    write(model, "gguf", tmp_path / "m")
    path = next((tmp_path / "m").glob("*.gguf"))
    parts = only_last(model, "Q2_0")
    parts[-1] = zeros("Q2_0", (64, 18))(LAST, (), (128, 512))
    write_gguf(path, parts)
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and "blocks of 64 and of 128 weights both fit" in result.stderr
    path.rename(path.with_name(f"bonsai-Q2_0_g{block}.gguf"))
    built(build, tmp_path / "m", tmp_path / "site")
    assert Gguf(next((tmp_path / "m").glob("*.gguf"))).entries[
        LAST].block == {64: (64, 18), 128: (128, 34)}[block]


def test_unread_types_of_tensors_that_nobody_needs(build, model, tmp_path):
    write(model, "gguf", tmp_path / "m")
    path = next((tmp_path / "m").glob("*.gguf"))
    parts = native_parts(model, gguf_lowbit(model, "Q2_0"))
    extra = [Part("guidance_in.in_layer.weight", "F64", (2, 3), lambda: [np.zeros((2, 3))]),
             Part("loss.ids", "I32", (5,), lambda: [np.zeros(5, "<i4")]),
             Part("lm_head.weight", "F32", (0,), lambda: [])]
    write_gguf(path, extra + parts)
    check(built(build, tmp_path / "m", tmp_path / "site"), model)


@pytest.mark.parametrize(("kind", "says"), [
    (28, "is F64, which this version does not read"), (26, "is I32, which this version does not"),
    (12, "is Q4_K, expected Q1_0"), (20, "IQ4_NL holds an ordinary model's weights rounded"),
    (99, "is of the unknown type 99, which this version does not read"),
])
@pytest.mark.parametrize("name", [LAST, "txt_in.weight"])
def test_unread_types_of_tensors_that_are_needed(build, model, tmp_path, monkeypatch, name, kind,
                                                 says):
    write(model, "gguf", tmp_path / "m")
    parts = native_parts(model, gguf_lowbit(model, "Q2_0"))
    part = next(p for p in parts if p.name == name)
    part.dtype, part.bytes = "other", 1 << 18
    part.chunks = lambda: [np.zeros(1 << 18, np.uint8)]
    monkeypatch.setitem(formats.GGML, "other", kind)
    write_gguf(next((tmp_path / "m").glob("*.gguf")), parts)
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and says in result.stderr
    assert "unknown" not in result.stderr or kind == 99


def array(inner, count, data):
    return struct.pack("<IIQ", 9, inner, count) + data


def test_values_of_every_type(model, tmp_path):
    forms = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
    pairs = [(f"a.{i}", struct.pack(f"<I{form}", i, 1)) for i, form in forms.items()]
    inner = struct.pack("<IQ", 4, 2) + struct.pack("<II", 7, 8)
    pairs += [("a.text", struct.pack("<I", 8) + gguf_text("木\n")),
              ("a.b", array(9, 2, 2 * inner)),
              ("a.strings", array(8, 2, gguf_text("x") + gguf_text(""))),
              ("a.none", array(0, 0, b""))]
    write_gguf(tmp_path / "x.gguf", native_parts(model, gguf_lowbit(model, "Q2_0")), pairs)
    read = Gguf(tmp_path / "x.gguf")
    assert read.values["a.text"] == "木\n" and read.values["a.b"] is True
    assert read.values["a.strings"] is True and read.values["a.none"] is False
    assert all(read.values[f"a.{i}"] == 1 for i in (*range(8), 10, 11, 12))
    assert read.entries[LAST].shape == (128, 512)


@pytest.mark.parametrize(("head", "says"), [
    (b"GGUF" + struct.pack(">IQQ", 3, 1, 0), "in big-endian order, expected little-endian"),
    (b"GGUF" + struct.pack("<IQQ", 1, 1, 0), "is GGUF version 1, expected 2 or 3"),
    (b"GGUF" + struct.pack("<IQQ", 9, 1, 0), "is GGUF version 9, expected 2 or 3"),
    (b"GGML" + struct.pack("<IQQ", 3, 1, 0), "is no GGUF file"),
    (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "counts 1152921504606846976 of something"),
    (b"GGUF" + struct.pack("<IQQ", 3, 1 << 23, 0), "end inside the header"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_text("k")
     + b"".join(array(9, 1, b"")[4 * (i > 0):] for i in range(20)), "nested more than 8 deep"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_text("k") + array(0, 1 << 24, b""),
     "end inside the header"),
    (b"GGUF" + struct.pack("<IQQI", 3, 0, 1, 0), "end inside the header"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_text("general.alignment")
     + struct.pack("<II", 4, 0), "general.alignment is 0"),
])
def test_headers_that_are_refused(tmp_path, head, says):
    path = tmp_path / "x.gguf"
    path.write_bytes(head + bytes(40 if "inside" not in says else 0))
    with pytest.raises(ExportError, match=says):
        Gguf(path)


def test_a_tensor_over_the_next_one(build, model, tmp_path):
    write_gguf_file(model, tmp_path)
    path = next(tmp_path.glob("*.gguf"))
    data = path.read_bytes()
    at = data.index(b"txt_in.weight") + len(b"txt_in.weight") + 4 + 16 + 4
    path.write_bytes(data[:at] + struct.pack("<Q", 32) + data[at + 8 :])
    with pytest.raises(ExportError, match="img_in.weight, BF16 .* needs 4096 bytes, and the next"):
        Gguf(path)
