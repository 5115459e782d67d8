"""The safetensors library beside our reader: the same tensors out of every file that it reads.

The library, of another hand, is the judge of what a file holds and of which files are good; where
our reader decides otherwise, the case is named below with its reason.
"""

import json
import math
import random
import struct

import numpy as np
import pytest
from safetensors import SafetensorError, TensorSpec, deserialize, serialize

from export.errors import ExportError
from export.source.safetensors import DTYPES, MAX_DIMENSIONS, OTHER_BITS, Checkpoint, bits_of

LIBRARY_DTYPES = {  # our names -> what the library's writer calls them
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
SHAPES = ((), (1,), (7,), (0,), (3, 0, 5), (4, 6), (1, 1, 1), (2, 3, 4, 5), (1,) * 9)


def library(data):
    """name -> (dtype, shape, bytes); None where the library refuses the file."""
    try:
        tensors = deserialize(data)
    except SafetensorError:
        return None
    return {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in tensors}


def ours(path, data):
    """The same of our reader; the message where it refuses the file.

    What it reads is compared as well with what its entries say where the bytes lie.
    """
    path.write_bytes(data)
    try:
        checkpoint = Checkpoint(path)
    except ExportError as error:
        assert str(path) in str(error)
        return str(error)
    found = {}
    for name, entry in checkpoint.entries.items():
        content = data[entry.start : entry.start + entry.bytes]
        if entry.dtype in DTYPES:
            tensor = checkpoint.read(name)
            assert tensor.data.shape == entry.shape and tensor.data.tobytes() == content
        found[name] = (entry.dtype, entry.shape, content)
    return found


def written(rng, count):
    """A file by the library's writer: tensors of all dtypes in odd shapes, and odd names."""
    kept, specs = [], {}
    names = ("", " ", "a/b\\c", "日本.weight", "é\n\t\0", "🍀" * 40, "n" * 3000, "\x7f")
    for i in range(count):
        dtype, shape = rng.choice([*LIBRARY_DTYPES]), rng.choice(SHAPES)
        content = np.frombuffer(rng.randbytes(math.prod(shape) * bits_of(dtype) // 8), np.uint8)
        kept.append(content)
        specs[rng.choice(names) + str(i)] = TensorSpec(
            dtype=LIBRARY_DTYPES[dtype], shape=shape, data_ptr=content.ctypes.data,
            data_len=content.nbytes)
    return bytes(serialize(specs, rng.choice((None, {}, {"format": "pt", "注": "värde\n"}))))


@pytest.mark.parametrize(("seed", "count"), [*((i, 1 + 3 * i) for i in range(12)), (99, 4000)])
def test_what_the_library_writes(tmp_path, seed, count):
    """4,000 tensors make a header of about a megabyte."""
    data = written(random.Random(seed), count)
    want = library(data)
    assert len(want) == count and ours(tmp_path / "x", data) == want


def test_rows_are_the_library_s(tmp_path):
    content = np.arange(5 * 3 * 4, dtype="<u2")
    spec = TensorSpec(dtype="uint16", shape=[5, 3, 4], data_ptr=content.ctypes.data, data_len=120)
    (tmp_path / "x").write_bytes(bytes(serialize({"a": spec})))
    whole = np.frombuffer(library((tmp_path / "x").read_bytes())["a"][2], "<u2").reshape(5, 3, 4)
    checkpoint = Checkpoint(tmp_path / "x")
    for first, last in ((0, 1), (2, 5), (4, 4), (1, None), (3, 99)):
        assert (checkpoint.read("a", first, last).data == whole[first:last]).all()


def raw(header, data=bytes(range(36))):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(9,), offsets=(0, 36), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def text(**fields):
    return json.dumps({"a": entry(**fields)}).encode()


GOOD = {
    "no tensor": raw({}, b""),
    "metadata alone": raw({"__metadata__": {"x": "y"}}, b""),
    "metadata null": raw({"__metadata__": None, "a": entry()}),
    "metadata last": raw({"a": entry(), "__metadata__": {"é": "\U0001f600"}}),
    "an unknown field": raw({"a": entry(quantised=[1, {"x": None}])}),
    "fields in another order": raw({"a": dict(reversed(entry().items()))}),
    "blanks before": raw(b" \n" + text()),
    "blanks behind": raw(text() + b" \r\n\t" * 9),
    "names not escaped": raw(json.dumps({"日本 é🍀": entry()}, ensure_ascii=False).encode()),
    "names escaped": raw({"日本 é🍀\0": entry()}),
    "an empty name": raw({"": entry()}),
    "a long name": raw({"n" * 100_000: entry()}),
    "data in another order": raw(
        {"b": entry(shape=(5,), offsets=(16, 36)), "a": entry(shape=(4,), offsets=(0, 16))}),
    "no alignment": raw({"a": entry("U8", (3,), (0, 3)), "b": entry("F64", (4,), (3, 35)),
                         "c": entry("BOOL", (), (35, 36))}),
    "empty at the start": raw({"z": entry(shape=(0,), offsets=(0, 0)), "a": entry()}),
    "empty between": raw({"a": entry(shape=(4,), offsets=(0, 16)),
                          "c": entry("F64", (0, 7), (16, 16)),
                          "b": entry(shape=(5,), offsets=(16, 36))}),
    "empty at the end": raw({"a": entry(), "y": entry(shape=(2, 0), offsets=(36, 36)),
                             "z": entry("I8", (0,), (36, 36))}),
    "as many dimensions as are read": raw({"a": entry(shape=(1,) * 15 + (9,))}),
    "less than a byte": raw({"a": entry("F4", (8,), (0, 4)), "b": entry("F6_E2M3", (4,), (4, 7)),
                             "c": entry("F6_E3M2", (8,), (7, 13)),
                             "d": entry("U8", (23,), (13, 36))}),
}


@pytest.mark.parametrize("case", GOOD)
def test_odd_but_good(tmp_path, case):
    want = library(GOOD[case])
    assert want is not None and ours(tmp_path / "x", GOOD[case]) == want


BAD = {
    "zero byte behind the header": (raw(text() + b"\0"), "not valid JSON"),
    "a byte order mark": (raw(b"\xef\xbb\xbf" + text()), "not valid JSON"),
    "a control character": (raw(text().replace(b"a", b"\x01", 1)), "not valid JSON"),
    "not a number": (raw(text().replace(b"[9]", b"[NaN]")), "not valid JSON"),
    "not a number where nobody looks": (raw({"a": entry(x=math.nan)}), "not valid JSON"),
    "infinite where nobody looks": (raw({"a": entry(x=-math.inf)}), "not valid JSON"),
    "half a character": (raw(text().replace(b'"a"', b'"\\ud800"')), "half a character"),
    "a field twice": (raw(text().replace(b'"dtype"', b'"dtype": "F32", "dtype"')), "dtype twice"),
    "sizes with a point": (raw({"a": entry(shape=(9.0,))}), "not a list of sizes"),
    "another case": (raw({"a": entry("f32")}), "'f32' is unknown"),
    "half a byte": (raw({"a": entry("F4", (3,), (0, 2))}, bytes(2)), "12 bits"),
    "a quarter of a byte": (raw({"a": entry("F6_E2M3", (5,), (0, 4))}, bytes(4)), "30 bits"),
    "empty inside another": (
        raw({"z": entry(shape=(0,), offsets=(4, 4)), "a": entry()}), "overlaps"),
    "empty, and too large": (
        raw({"z": entry(shape=(1 << 62, 1 << 62, 0), offsets=(0, 0)), "a": entry()}),
        "more than any file"),
    "something behind": (raw({"a": entry()}, bytes(36) + b"x"), "1 bytes after the last tensor"),
    "a byte too few": (raw({"a": entry()}, bytes(35)), "truncated"),
    "no header": (b"", "too few"),
}


@pytest.mark.parametrize("case", BAD)
def test_odd_and_bad(tmp_path, case):
    data, says = BAD[case]
    assert library(data) is None
    refusal = ours(tmp_path / "x", data)
    assert isinstance(refusal, str) and says in refusal


STRICTER = {  # what the library takes and we refuse
    # Readers differ in which of the two counts.
    "a tensor twice": (raw(text()[:-1] + b"," + text()[1:]), "names a twice"),
    "a pair of the metadata twice": (
        raw(b'{"__metadata__": {"x": "1", "x": "2"},' + text()[1:]), "names x twice"),
    # No writer makes them.
    "fields without names": (raw(b'{"a": ["F32", [9], [0, 36]]}'), "lacks dtype"),
    "more dimensions": (raw({"a": entry(shape=(1,) * MAX_DIMENSIONS + (9,))}), "list of sizes"),
    # No array can have such a shape, whatever stands first.
    "empty, and too large": (
        raw({"z": entry(shape=(0, 1 << 62, 4), offsets=(0, 0)), "a": entry()}),
        "more than any file"),
}
LAXER = {  # what the library refuses and we take
    "zeros behind": raw({"a": entry()}, bytes(40)),  # padding of tools that copy by the block
    # Metadata are of no tensor; what they say of the weights is looked at all the same.
    "metadata of numbers": raw({"__metadata__": {"x": 1}, "a": entry()}),
    "metadata of objects": raw({"__metadata__": {"x": {"y": "z"}}, "a": entry()}),
    "metadata in a list": raw({"__metadata__": ["x"], "a": entry()}),
    "metadata in text": raw({"__metadata__": "x", "a": entry()}),
    "minus zero": raw(text().replace(b"[0,", b"[-0,")),
    "deep where nobody looks": raw(
        text().replace(b"[0, 36]", b'[0, 36], "x": ' + b"[" * 150 + b"]" * 150)),
}


@pytest.mark.parametrize("case", STRICTER)
def test_stricter_on_purpose(tmp_path, case):
    data, says = STRICTER[case]
    refusal = ours(tmp_path / "x", data)
    assert library(data) is not None and isinstance(refusal, str) and says in refusal


@pytest.mark.parametrize("case", LAXER)
def test_laxer_on_purpose(tmp_path, case):
    assert library(LAXER[case]) is None
    found = ours(tmp_path / "x", LAXER[case])
    assert found["a"][:2] == ("F32", (9,)) and len(found["a"][2]) == 36


def test_every_dtype_of_the_library_is_known(tmp_path):
    """What its refusal of an unknown one lists."""
    with pytest.raises(SafetensorError) as failure:
        deserialize(raw({"a": entry("F33")}))
    listed = {word.strip("`, ") for word in str(failure.value).split("expected one of")[1].split()}
    assert {word for word in listed if word[:1] in "BFIUC"} - {"C128"} <= {*DTYPES, *OTHER_BITS}
