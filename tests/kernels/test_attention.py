import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import integers, normal
from tests.tolerance import assert_close

SHAPES = {  # Tq, Tk, Hq, Hkv, DH, valid
    "smallest": (1, 1, 1, 1, 4, 1),
    "ragged": (13, 19, 3, 3, 20, 19),
    "padded keys": (9, 40, 2, 2, 16, 33),
    "grouped heads": (11, 11, 6, 2, 32, 11),
    "longer than a tile": (17, 150, 2, 1, 64, 149),
    "text encoder": (40, 40, 8, 2, 128, 37),
    "denoiser": (320, 320, 4, 4, 64, 320),
    "autoencoder": (64, 64, 1, 1, 512, 64),
}
TILED = [case for case, (*_, dh, _) in SHAPES.items() if dh % 16 == 0]
RUNS = [*[("attention", case) for case in SHAPES], *[("attention_tiled", case) for case in TILED]]
KERNELS = ["attention", "attention_tiled"]


def run(kernel, q, k, v, valid, scale, q0=0, **overrides):
    dims = {"Tq": len(q), "Tk": len(k), "Hq": q.shape[1], "Hkv": k.shape[1], "valid": valid,
            "q0": q0, "scale": scale}
    overrides = {"DH": q.shape[2], **overrides}
    if kernel == "attention_tiled" and q.shape[2] > 256:
        overrides["QUERIES"] = 8
    return gpu.run(kernel, dims, {"q": q, "k": k, "v": v, "o": q.shape}, overrides)


def data(case, scale=1.0):
    tq, tk, hq, hkv, dh, valid = SHAPES[case]
    return (normal(1, tq, hq, dh, scale=scale), normal(2, tk, hkv, dh, scale=scale),
            normal(3, tk, hkv, dh), valid, float(np.float32(dh**-0.5)))


@pytest.mark.parametrize("kernel, case", RUNS)
def test_all_keys(kernel, case):
    q, k, v, valid, scale = data(case)
    k[valid:] = v[valid:] = np.nan  # what is beyond valid must not be looked at
    assert_close(kernel, case, run(kernel, q, k, v, valid, scale),
                 oracles.attention(q, k, v, valid, scale))


@pytest.mark.parametrize("kernel, case", RUNS)
def test_causal(kernel, case):
    q, k, v, valid, scale = data(case)
    got = run(kernel, q, k, v, valid, scale, CAUSAL=True)
    assert_close(kernel, case, got, oracles.attention(q, k, v, valid, scale, causal=True))


@pytest.mark.parametrize("kernel", KERNELS)
def test_causal_rows_of_a_longer_sequence(kernel):
    q, k, v, valid, scale = data("longer than a tile")
    got = run(kernel, q, k, v, valid, scale, q0=100, CAUSAL=True)
    assert_close(kernel, "q0 = 100", got,
                 oracles.attention(q, k, v, valid, scale, causal=True, q0=100))


@pytest.mark.parametrize("queries", [8, 16, 64])
def test_queries_of_a_workgroup(queries):
    q, k, v, valid, scale = data("padded keys")
    got = run("attention_tiled", q, k, v, valid, scale, QUERIES=queries)
    assert_close("attention_tiled", f"QUERIES = {queries}", got,
                 oracles.attention(q, k, v, valid, scale))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lowest", [-100, 50])
def test_logits_of_ten_thousand(kernel, lowest, causal):
    """Whole numbers, so that f32 holds the logits exactly; they rise, fall and tie across tiles."""
    q = np.zeros((12, 1, 16), np.float32)
    q[:, 0, 0] = np.linspace(-100, 100, 12).round()
    k = np.zeros((40, 1, 16), np.float32)
    k[:, 0, 0] = lowest + integers(1, 101 - lowest, 40)
    k[7] = k[30] = k.max(axis=0)
    v = normal(2, 40, 1, 16)
    got = run(kernel, q, k, v, 40, 1.0, CAUSAL=causal)
    assert_close(kernel, "logits to 1e4", got, oracles.attention(q, k, v, 40, 1.0, causal))


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_logits_average(kernel):
    q, v = np.zeros((5, 1, 16), np.float32), normal(1, 21, 1, 16, scale=4e4)
    got = run(kernel, q, normal(2, 21, 1, 16), v, 21, 1.0)
    want = np.broadcast_to(v.mean(axis=0, dtype=np.float64), q.shape)
    assert_close(kernel, "mean of v", got, want)
