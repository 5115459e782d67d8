"""Files damaged at random, seeded: only ExportError comes out, and memory stays bounded."""

import contextlib
import json
import random
import struct
import tracemalloc

import pytest

from export.errors import ExportError
from export.opening import open_model
from export.source.find import Source
from tests.export.tiny import Tiny
from tests.fullscale.layouts import write
from tests.fullscale.model import Model

MOST_BYTES = 64 << 20  # of an opening; the checkpoints have about one
ROUNDS = 60
DTYPES = ["F32", "F16", "BF16", "F64", "U8", "U32", "F8_E4M3", "F4", "C64", "BOOL", "X", None, 5]
SHAPES = [[], [0], [0, 3], [1 << 40], [128], [128, 128], [3, 5, 7], [-1], [1.5], "x", None,
          [1 << 62, 4], [16] * 20]


def opened(folder):
    """Whether the model opens and its tensors can be packed, as build.py does it."""
    tracemalloc.start()
    try:
        with contextlib.suppress(ExportError):
            model = open_model(Source(folder, "damaged", {}))
            for component in model.components.values():
                for name in component.specs:
                    component.layout.pack(name)
            return True
        return False
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < MOST_BYTES


def flip(rng, data):
    """A few bytes changed, now and then one of a length or a count."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
    return bytes(data)


def damage_header(rng, header):
    """One entry of a safetensors header, changed in one of many ways."""
    name = rng.choice(sorted(header))
    entry = header[name]
    begin, end = entry["data_offsets"]
    change = rng.randrange(8)
    if change == 0:
        entry["dtype"] = rng.choice(DTYPES)
    elif change == 1:
        entry["shape"] = rng.choice(SHAPES)
    elif change == 2:
        entry["data_offsets"] = rng.choice([[end, begin], [begin], [begin, end + 4], None, [0, 0]])
    elif change == 3:
        header[name + rng.choice([".scales", ".input_scale", "x", ""])] = dict(entry)
    elif change == 4:
        header[name.replace("weight", rng.choice(["scales", "absmax", "qweight"]))] = entry
        del header[name]
    elif change == 5:
        header[name] = rng.choice([None, [], {}, "x", 5])
    elif change == 6:
        other = rng.choice(sorted(header))
        header[name], header[other] = header[other], entry
    else:
        header.update({f"{rng.choice('abc')}.{key}": header.pop(key) for key in sorted(header)})
    return header


FILES = {
    "unpacked": ("unpacked", "transformer/*.safetensors"),
    "unpacked encoder": ("unpacked", "text_encoder/*.safetensors"),
    "autoencoder": ("unpacked", "vae/*.safetensors"),
    "mlx": ("mlx", "transformer-packed-mflux/*.safetensors"),
    "mlx encoder": ("mlx", "text_encoder-mlx-4bit/*.safetensors"),
    "native": ("native", "*.safetensors"),
}


def checkpoint(folder, layout):
    if layout in ("native", "gguf"):
        write(Model("tiny", "ternary"), layout, folder)
    else:
        Tiny().write(folder, layout)


@pytest.mark.parametrize("case", FILES)
def test_damaged_safetensors(tmp_path, case):
    layout, pattern = FILES[case]
    checkpoint(tmp_path, layout)
    path = next(tmp_path.glob(pattern))
    whole = path.read_bytes()
    (count,) = struct.unpack_from("<Q", whole)
    assert opened(tmp_path)  # the undamaged one
    rng = random.Random(case)
    for _ in range(ROUNDS // 3):
        header = json.loads(whole[8 : 8 + count])
        header.pop("__metadata__", None)
        text = json.dumps(damage_header(rng, header)).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + count :])
        opened(tmp_path)
    for _ in range(ROUNDS // 3):
        path.write_bytes(flip(rng, whole[: 8 + count]) + whole[8 + count :])
        opened(tmp_path)


def test_damaged_gguf(tmp_path):
    checkpoint(tmp_path, "gguf")
    path = next(tmp_path.glob("*.gguf"))
    whole = path.read_bytes()
    assert opened(tmp_path)
    head = 3072
    rng = random.Random(0)
    for _ in range(2 * ROUNDS):
        path.write_bytes(flip(rng, whole[:head]) + whole[head:])
        opened(tmp_path)
    for _ in range(ROUNDS // 3):
        path.write_bytes(whole[: rng.randrange(len(whole))])
        opened(tmp_path)


@pytest.mark.parametrize("encoder", ["mlx", "hqq"])
def test_damaged_pickles(tmp_path, encoder):
    import torch

    layout = "gemlite" if encoder == "mlx" else "mlx"
    write(Model("tiny", "ternary"), layout, tmp_path, encoder)
    path = next(tmp_path.glob("*/*.pt"))
    assert opened(tmp_path)
    rng = random.Random(encoder)
    values = [torch.zeros(()), torch.zeros(0), torch.zeros(3, 5), torch.ones(12), "x", None, 7,
              [1, "a"], {"W_q": torch.zeros(4, dtype=torch.uint8)},
              torch.zeros(2, 2, dtype=torch.int8), torch.eye(3).to_sparse(),
              torch.zeros(12, dtype=torch.int32)]
    for _ in range(ROUNDS // 2):
        state = torch.load(path, weights_only=True)
        whole = path.read_bytes()
        place = state
        key = rng.choice(sorted(place))
        while isinstance(place[key], dict) and rng.random() < 0.8:
            place = place[key]
            key = rng.choice(sorted(place))
        place[key] = rng.choice(values)
        torch.save(state, path)
        opened(tmp_path)
        path.write_bytes(whole)
