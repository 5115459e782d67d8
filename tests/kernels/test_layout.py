import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import integers, normal, pack_codes
from tests.tolerance import assert_close


@pytest.mark.parametrize("case, h, w, c", [
    ("smallest", 1, 1, 1), ("ragged", 3, 5, 7), ("real", 16, 24, 32)])
def test_unpatchify(case, h, w, c):
    tokens, mean, deviation = normal(1, h * w, 4 * c), normal(2, 4 * c), normal(3, 4 * c)
    stored = {"tokens": tokens, "mean": mean, "deviation": deviation, "z": (2 * h, 2 * w, c)}
    got = gpu.run("unpatchify", {"h": h, "w": w, "C": c}, stored, most_groups=2)
    assert_close("unpatchify", case, got, oracles.unpatchify(tokens, mean, deviation, h, w))


def test_unpatchify_order():
    """h = 1, w = 2, C = 2: channels 0..3 of a token are the 2x2 block of channel 0."""
    tokens = np.arange(16, dtype=np.float32).reshape(2, 8)
    stored = {"tokens": tokens, "mean": np.zeros(8, np.float32),
              "deviation": np.ones(8, np.float32), "z": (2, 4, 2)}
    got = gpu.run("unpatchify", {"h": 1, "w": 2, "C": 2}, stored)
    assert got[..., 0].tolist() == [[0, 1, 8, 9], [2, 3, 10, 11]]
    assert got[..., 1].tolist() == [[4, 5, 12, 13], [6, 7, 14, 15]]


@pytest.mark.parametrize("case, h, w, c, cz", [
    ("smallest", 1, 1, 1, 1), ("ragged", 3, 5, 7, 9), ("real", 16, 24, 32, 64)])
def test_patchify(case, h, w, c, cz):
    z, mean = normal(1, 2 * h, 2 * w, cz), normal(2, 4 * c)
    deviation = np.exp(normal(3, 4 * c))
    stored = {"z": z, "mean": mean, "deviation": deviation, "tokens": (h * w, 4 * c)}
    got = gpu.run("patchify", {"h": h, "w": w, "C": c, "Cz": cz}, stored, most_groups=2)
    assert_close("patchify", case, got, oracles.patchify(z, mean, deviation))


def test_patchify_order():
    """h = 1, w = 2, C = 2 of 3: what unpatchify makes of 0..15 becomes 0..15 again."""
    z = np.zeros((2, 4, 3), np.float32)
    z[..., 0] = [[0, 1, 8, 9], [2, 3, 10, 11]]
    z[..., 1] = [[4, 5, 12, 13], [6, 7, 14, 15]]
    stored = {"z": z, "mean": np.zeros(8, np.float32), "deviation": np.ones(8, np.float32),
              "tokens": (2, 8)}
    got = gpu.run("patchify", {"h": 1, "w": 2, "C": 2, "Cz": 3}, stored)
    assert got.tolist() == np.arange(16).reshape(2, 8).tolist()


@pytest.mark.parametrize("case, pixels", [("smallest", 1), ("ragged", 1000), ("real", 128 * 128)])
def test_to_rgba(case, pixels):
    x = normal(1, pixels, 3)
    got = gpu.run("to_rgba", {"P": pixels}, {"x": x, "rgba": (pixels,)}, most_groups=3)
    assert_close("to_rgba", case, got, oracles.to_rgba(x))


def test_to_rgba_clamps_and_rounds_half_to_even():
    """The third pixel is 127.5, 128.5 and 202.5 of 255 in f32: 128, 128 and 202."""
    x = np.float32([[-1, 0.5, 1], [-9, 4e4, -0.0], [0, 0.0078431368, 0.58823526]])
    got = gpu.run("to_rgba", {"P": 3}, {"x": x, "rgba": (3,)})
    assert [hex(word) for word in got] == ["0xffffbf00", "0xff80ff00", "0xffca8080"]


def test_to_rgba_marks_what_is_no_number():
    """Alpha 0 tells the page that the device went wrong; the largest numbers are still colours."""
    x = np.zeros((6, 3), np.float32)
    x[1, 0], x[2, 1], x[3, 2] = np.nan, np.inf, -np.inf
    x[4] = [np.finfo(np.float32).max, -np.finfo(np.float32).max, 1e-45]
    got = gpu.run("to_rgba", {"P": 6}, {"x": x, "rgba": (6,)})
    assert got.tolist() == oracles.to_rgba(x).tolist()
    assert [word >> 24 for word in got.tolist()] == [255, 0, 0, 0, 255, 255]


@pytest.mark.parametrize("case, words", [("smallest", 1), ("ragged", 1003), ("real", 48 * 256)])
def test_unpack_trits(case, words):
    trits = integers(1, 3, 16 * words)
    padded = np.pad(trits, (0, -trits.size % 20)).reshape(-1, 5)  # a multiple of four bytes
    data = (padded @ [1, 3, 9, 27, 81]).astype(np.uint8)
    assert (oracles.unpack_trits(data)[: trits.size] == trits).all()
    stored = {"trits": data, "codes": (words,)}
    got = gpu.run("unpack_trits", {"words": words}, stored, most_groups=3)
    assert_close("unpack_trits", case, got, pack_codes(trits[None], 2)[0])


def test_unpack_trits_order():
    """242 = 22222 and 5 = 2 + 1*3 in base 3; the last byte of a word counts with one trit."""
    data = np.uint8([5, 0, 242, 1, 81 * 2, 0, 0, 0])
    got = gpu.run("unpack_trits", {"words": 2}, {"trits": data, "codes": (2,)})
    assert [hex(word) for word in got] == [hex(0b01_1010101010_0000000000_0000000110), hex(2 << 16)]
