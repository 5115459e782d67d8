"""safetensors files: good ones are read exactly, damaged and hostile ones refused in a sentence."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from export.errors import ExportError
from export.source.safetensors import Checkpoint, read_header
from tests.export.tiny import bf16, save

GOOD = {"a": ("F32", np.arange(6.0).reshape(2, 3)), "b": ("BF16", bf16([1.0, -2.0, 0.5]))}


def write_raw(path, header, data=bytes(36)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype="F32", shape=(9,), offsets=(0, 36)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_values_are_exact(tmp_path):
    save(tmp_path / "model.safetensors", GOOD)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.read("a").data.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert checkpoint.read("a", 1).data.tolist() == [[3, 4, 5]]
    assert checkpoint.read("a", 0, 1).data.tolist() == [[0, 1, 2]]
    assert checkpoint.read("b").float32().tolist() == [1.0, -2.0, 0.5]
    assert checkpoint.entries["b"].dtype == "BF16"


def test_the_library_s_own_files_are_read(tmp_path):
    arrays = {"x": np.float16([[1.5], [2.5]]), "n": np.array(7), "empty": np.zeros((0, 4), "f4")}
    save_file(arrays, tmp_path / "model.safetensors")
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.read("x").float32().tolist() == [[1.5], [2.5]]
    assert checkpoint.read("n").data == 7 and checkpoint.read("empty").data.shape == (0, 4)


def test_raw_control(tmp_path):
    """The writer of the hostile files below writes a good one too."""
    assert read_header(write_raw(tmp_path / "x", {"a": entry()}))["a"].shape == (9,)


@pytest.mark.parametrize(("header", "says"), [
    (b"{not json", "not valid JSON"),
    (b"\xff\xfe", "not valid JSON"),
    (b"[" * 200_000, "not valid JSON"),
    (b'{"a":' * 100_000, "not valid JSON"),
    (b"[1]", "a JSON list"),
    (b'{"a": {}, "a": {}}', "names a twice"),
    ({"a": 5}, "lacks dtype"),
    ({"a": {"dtype": "F32"}}, "lacks dtype"),
    ({"a": entry("F33")}, "'F33' is unknown"),
    ({"a": entry(["F32"])}, "is unknown"),
    ({"a": entry(shape=(-9,))}, "not a list of sizes"),
    ({"a": entry(shape=(9.0,))}, "not a list of sizes"),
    ({"a": entry(shape=(True,))}, "not a list of sizes"),
    ({"a": entry(shape=(1 << 70,))}, "not a list of sizes"),
    ({"a": entry(shape=(1,) * 40)}, "not a list of sizes"),
    ({"a": entry(shape=(8,))}, r"takes 32 bytes, the offsets give 36"),
    ({"a": entry(shape=(1 << 62, 1 << 62))}, "takes"),
    ({"a": entry(offsets=(36, 0))}, "not a begin and an end"),
    ({"a": entry(offsets=(-36, 0))}, "not a begin and an end"),
    ({"a": entry(offsets=(0, 36, 72))}, "not a begin and an end"),
    ({"a": entry(offsets=(36, 72))}, "leaves a hole"),
    ({"a": entry(shape=(10,), offsets=(0, 40))}, "truncated: "),
    ({"a": entry(), "b": entry(shape=(1,), offsets=(32, 36))}, "overlaps"),
    ({"a": entry(), "b": entry()}, "overlaps"),
])
def test_hostile_headers(tmp_path, header, says):
    path = write_raw(tmp_path / "model.safetensors", header)
    with pytest.raises(ExportError, match=says) as failure:
        read_header(path)
    assert str(path) in str(failure.value)


def test_what_lies_behind_the_last_tensor(tmp_path):
    """Zeros are padding, whatever their number; anything else is told with its end."""
    path = write_raw(tmp_path / "model.safetensors", {"a": entry(shape=(8,), offsets=(0, 32))})
    end = path.stat().st_size - 4
    assert read_header(path)["a"].shape == (8,)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(3 << 20))
    assert read_header(path)["a"].bytes == 32
    for tail in (b"x", bytes(8) + b"x", bytes(3 << 20) + b"\1"):
        path.write_bytes(whole[:end] + tail)
        says = f"{len(tail)} bytes after the last tensor, .* cut it with truncate -s {end}, or"
        with pytest.raises(ExportError, match=says):
            read_header(path)


@pytest.mark.parametrize("claim", [1 << 63, (1 << 64) - 1, 1 << 40, 1000])
def test_a_header_longer_than_the_file(tmp_path, claim):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", claim) + b"{}")
    with pytest.raises(ExportError, match=f"the header claims {claim} bytes of a file of 10"):
        read_header(path)


@pytest.mark.parametrize("kept", [0, 5, 8, 20, -1])
def test_truncated_files(tmp_path, kept):
    save(tmp_path / "model.safetensors", GOOD)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:kept])
    with pytest.raises(ExportError, match="truncated|too few"):
        Checkpoint(tmp_path)


def shard(tmp_path, placed=None):
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, tensor in zip(names, "ab", strict=True):
        save(tmp_path / name, {tensor: GOOD[tensor]})
    placed = placed or dict(zip("ab", names, strict=True))
    index = json.dumps({"metadata": {}, "weight_map": placed})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    return names


def test_sharded_checkpoints(tmp_path):
    shard(tmp_path)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.entries.keys() == {"a", "b"}
    assert checkpoint.read("b").float32().tolist() == [1.0, -2.0, 0.5]


def test_a_single_file_beside_an_index_wins(tmp_path):
    shard(tmp_path)
    save(tmp_path / "model.safetensors", {"whole": GOOD["a"]})
    assert Checkpoint(tmp_path).entries.keys() == {"whole"}


def test_a_missing_shard_is_named(tmp_path):
    names = shard(tmp_path)
    (tmp_path / names[1]).unlink()
    with pytest.raises(ExportError, match=f"{names[1]}: missing, though"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(("placed", "says"), [
    ({"a": "../up.safetensors"}, "not a file name in the same folder"),
    ({"a": "/etc/passwd"}, "not a file name in the same folder"),
    ({"a": "sub\\x"}, "not a file name in the same folder"),
    ({"a": ""}, "not a file name in the same folder"),
    ({"a": 3}, "weight_map is missing or"),
    (["a"], "weight_map is missing or"),
])
def test_indexes_that_name_no_files_of_their_folder(tmp_path, placed, says):
    shard(tmp_path, placed)
    with pytest.raises(ExportError, match=says):
        Checkpoint(tmp_path)


FIRST, SECOND = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))


@pytest.mark.parametrize(("placed", "holds"), [
    ({"a": FIRST}, "a"), ({"a": FIRST, "b": FIRST}, "a"), ({"a": FIRST, "lm_head": SECOND}, "ab"),
    ({"b": FIRST, "a": SECOND}, "ab"), ({"lm_head": SECOND}, "b"),
])
def test_what_the_shards_of_an_index_hold_counts(tmp_path, placed, holds):
    """As in transformers: an entry too many or too few is no reason not to read the others."""
    shard(tmp_path, placed)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.entries.keys() == set(holds)
    for name in holds:
        assert (checkpoint.read(name).data == np.asarray(GOOD[name][1])).all()


def test_a_tensor_in_two_shards_is_the_one_that_the_index_names(tmp_path):
    save(tmp_path / FIRST, {"a": ("F32", np.ones(2)), "b": GOOD["b"]})
    save(tmp_path / SECOND, {"a": ("F32", np.zeros(2))})
    index = tmp_path / "model.safetensors.index.json"
    for file, value in ((FIRST, 1), (SECOND, 0)):
        index.write_text(json.dumps({"weight_map": {"a": file, "b": FIRST, "c": SECOND}}))
        assert (Checkpoint(tmp_path).read("a").data == value).all()
    index.write_text(json.dumps({"weight_map": {"b": FIRST, "c": SECOND}}))
    with pytest.raises(ExportError, match="holds a, as model-00001.* which counts"):
        Checkpoint(tmp_path)


def test_an_index_alone_may_be_named(tmp_path):
    shard(tmp_path)
    assert Checkpoint(tmp_path / "model.safetensors.index.json").entries.keys() == {"a", "b"}


def test_no_weights_and_two_models(tmp_path):
    with pytest.raises(ExportError, match="no .safetensors file; the folder holds no files"):
        Checkpoint(tmp_path)
    save(tmp_path / "one.safetensors", GOOD)
    save(tmp_path / "two.safetensors", GOOD)
    with pytest.raises(ExportError, match="2 safetensors files"):
        Checkpoint(tmp_path)


def test_prefixes_are_stripped_once(tmp_path):
    save(tmp_path / "model.safetensors", {"model.a": GOOD["a"], "b": GOOD["b"]})
    checkpoint = Checkpoint(tmp_path)
    checkpoint.strip_prefix("model.")
    assert checkpoint.entries.keys() == {"a", "b"}
    save(tmp_path / "model.safetensors", {"model.a": GOOD["a"], "a": GOOD["b"]})
    with pytest.raises(ExportError, match="a is there with and without"):
        Checkpoint(tmp_path).strip_prefix("model.")
