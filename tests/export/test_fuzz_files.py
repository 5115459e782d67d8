"""Both parsers of weights over seeded mutations of good files: a sentence, or the tensors.

Nothing but ExportError comes out, no file takes long, and none takes much more memory than it is
large. A failure names the seed that makes its file again.
"""

import contextlib
import json
import random
import signal
import struct
import tracemalloc

import numpy as np
import pytest

from export.errors import ExportError
from export.packing.manifest import has_format, is_ours
from export.source.gguf import Gguf
from export.source.gguf_types import FLOATS, LOWBIT, split_scales, split_ternary
from export.source.safetensors import DTYPES, Checkpoint
from tests.fullscale.formats import Part, gguf_text, write_gguf, write_safetensors

ROUNDS = 400
GGUF_HEAD = 800  # about the bytes of its header, tensors and pairs together
CPU_SECONDS = 60  # of all rounds of a test; they take about one
LEAST_BYTES = 2 << 20  # what any opening may take, beside
TIMES_THE_FILE = 8  # eight-bit blocks become float32 while they are read, with a copy
ODD = (0, 1, 2, 3, 7, 8, 9, 31, 32, 255, 1 << 15, (1 << 24) - 1, 1 << 31, (1 << 32) - 1, 1 << 40,
       (1 << 48) - 1, 1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


@pytest.fixture(autouse=True)
def cpu_limit():
    """By the processor's clock: a machine that is busy otherwise makes no test fail."""

    def stop(number, frame):
        raise TimeoutError(f"not done after {CPU_SECONDS} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def mutate(rng, data, head):
    """One to four changes, most of them in the first `head` bytes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        span = head if rng.random() < 0.7 else len(data)
        at = rng.randrange(min(span, len(data)) or 1)
        count = rng.choice((1, 2, 4, 8, 8, 40))
        change = rng.randrange(6)
        if change == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif change == 1:
            form, most = rng.choice((("<Q", 1 << 64), ("<I", 1 << 32), ("<B", 1 << 8)))
            new = struct.pack(form, rng.choice(ODD) % most)
            data[at : at + len(new)] = new
        elif change == 2:
            del data[at : at + count]
        elif change == 3:
            data[at:at] = rng.randbytes(count)
        elif change == 4:
            data[at:at] = data[at : at + 10 * count]
        else:
            del data[at:]
    return bytes(data)


def mutate_json(rng, value):
    """A JSON value with one change somewhere inside."""
    if rng.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return rng.choice(
            [None, True, -1, 0, 1.5, "", "F32", "F16", "x" * 99, "é\ud800", [], {}, [[]], [0],
             {"a": {}}, *ODD])
    copy = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice([*copy] if isinstance(copy, dict) else range(len(copy)))
    copy[key] = mutate_json(rng, copy[key])
    if isinstance(copy, dict) and rng.random() < 0.2:
        copy[rng.choice(["", "__metadata__", "dtype", "ü", f"{key}.x"])] = copy.pop(key)
    return copy


def survive(path, data, read):
    """Whether the file is read; ExportError alone may say why not."""
    path.write_bytes(data)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    read_it = False
    with contextlib.suppress(ExportError):
        read(path)
        read_it = True
    taken = tracemalloc.get_traced_memory()[1] - before
    assert taken < LEAST_BYTES + TIMES_THE_FILE * len(data), taken
    return read_it


def over_mutations(path, good, read, make):
    """Reads make(rng) of many seeds; some must be read, and some refused."""
    tracemalloc.start()
    try:
        assert survive(path, good, read)
        outcomes = []
        for seed in range(ROUNDS):
            try:
                outcomes.append(survive(path, make(random.Random(seed)), read))
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
    finally:
        tracemalloc.stop()
    assert 0.01 * ROUNDS < sum(outcomes) < 0.95 * ROUNDS, sum(outcomes)


def read_safetensors(path):
    checkpoint = Checkpoint(path)
    for name, entry in checkpoint.entries.items():
        if entry.dtype in DTYPES:
            assert checkpoint.read(name).data.shape == entry.shape
            assert len(checkpoint.read(name, 0, 1).data.reshape(-1)) <= max(entry.bytes, 1)


def read_gguf(path):
    checkpoint = Gguf(path)
    for name, entry in checkpoint.entries.items():
        if entry.dtype in LOWBIT:
            tensor = checkpoint.read(name)
            split = split_scales(tensor.data) if entry.dtype == "Q1_0" else split_ternary(
                entry.dtype, tensor.data)
            assert len(split[1]) == len(tensor.data)
        elif entry.dtype in FLOATS.values():
            assert checkpoint.read(name).data.shape == entry.shape


def parts(rng, kinds):
    """Small tensors of many types; kinds: name -> (weights, bytes) of a block."""
    made = []
    for name, (weights, size) in kinds.items():
        for shape in ((2, weights), (weights,), (0, weights)):
            count = shape[0] * size if len(shape) == 2 else size
            data = np.frombuffer(rng.randbytes(count), np.uint8)
            made.append(Part(f"t{len(made)}", name, shape, lambda data=data: [data], count))
    return made


@pytest.fixture(scope="module")
def safetensors(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "x.safetensors"
    kinds = {"F32": (3, 12), "BF16": (3, 6), "F16": (1, 2), "I64": (2, 16)}
    write_safetensors(path, parts(random.Random(1), kinds))
    return path.read_bytes()


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "x.gguf"
    kinds = {"F32": (4, 16), "BF16": (4, 8), "Q8_0": (32, 34), "Q1_0": (128, 18),
             "Q2_0": (128, 34), "PTQ1_0": (128, 28), "TQ1_0": (256, 54), "TQ2_0": (256, 66)}
    texts = struct.pack("<IIQ", 9, 8, 2) + gguf_text("a") + gguf_text("é")
    made = [part for part in parts(random.Random(2), kinds) if part.shape[0]]
    write_gguf(path, made, [("tokens", texts), ("n", struct.pack("<Id", 12, 1.0)),
                            ("b", struct.pack("<I?", 7, True))], alignment=64)
    return path.read_bytes()


def header_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_safetensors_bytes(tmp_path, safetensors):
    head = len(safetensors) - len(header_of(safetensors)[1])
    over_mutations(tmp_path / "x.safetensors", safetensors, read_safetensors,
                   lambda rng: mutate(rng, safetensors, head))


def test_safetensors_headers(tmp_path, safetensors):
    header, data = header_of(safetensors)

    def make(rng):
        text = json.dumps(mutate_json(rng, header)).encode()
        return struct.pack("<Q", len(text)) + text + data

    over_mutations(tmp_path / "x.safetensors", safetensors, read_safetensors, make)


def test_gguf_bytes(tmp_path, gguf):
    over_mutations(tmp_path / "g128.gguf", gguf, read_gguf,
                   lambda rng: mutate(rng, gguf, GGUF_HEAD))


def test_gguf_numbers(tmp_path, gguf):
    """One aligned number of the header, a count, a type, a size or an offset, is an odd one."""
    known = sorted({at for value in (*range(1, 64), 128, 256) for form in ("<I", "<Q")
                    for at in occurrences(gguf, struct.pack(form, value)) if at < GGUF_HEAD})

    def make(rng):
        form, most = rng.choice((("<Q", 1 << 64), ("<I", 1 << 32)))
        at, new = rng.choice(known), struct.pack(form, rng.choice(ODD) % most)
        return gguf[:at] + new + gguf[at + len(new) :]

    over_mutations(tmp_path / "g128.gguf", gguf, read_gguf, make)


def occurrences(data, word):
    at = data.find(word)
    while at >= 0:
        yield at
        at = data.find(word, at + 1)


def test_manifests(tmp_path):
    """Whether a folder is a site of ours is a yes or a no, whatever lies there."""
    good = {"format": "trefoil-2", "name": "x", "shards": [{"file": "a", "bytes": 1}]}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(good))
    assert has_format(path) and is_ours(tmp_path)
    answers = set()
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        text = json.dumps(mutate_json(rng, good)).encode()
        path.write_bytes(text if rng.random() < 0.5 else mutate(rng, text, len(text)))
        assert has_format(path) == is_ours(tmp_path)
        answers.add(has_format(path))
    path.write_bytes(b'{"format":' + b"[" * 200_000)
    answers.add(has_format(path))
    path.write_bytes(b'{"format": ' + b"9" * 10_000 + b"}")
    answers.add(has_format(path))
    assert answers == {True, False}
