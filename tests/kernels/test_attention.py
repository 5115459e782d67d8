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
    "wide heads": (70, 70, 8, 4, 256, 61),
    "picture and text": (70, 300, 5, 5, 112, 217),
    "denoiser": (320, 320, 4, 4, 64, 320),
    "autoencoder": (64, 64, 1, 1, 512, 64),
}
TILED = [case for case, (*_, dh, _) in SHAPES.items() if dh % 16 == 0]
RUNS = [*[("attention", case) for case in SHAPES], *[("attention_tiled", case) for case in TILED]]
KERNELS = ["attention", "attention_tiled"]
FEW = ["ragged", "grouped heads", "longer than a tile", "wide heads", "picture and text"]
FEW_RUNS = [(kernel, case) for kernel, case in RUNS if case in FEW]


def run(kernel, q, k, v, valid, scale, q0=0, bias=None, **overrides):
    """bias [Hq, *] by distance, as the kernel takes it."""
    dims = {"Tq": len(q), "Tk": len(k), "Hq": q.shape[1], "Hkv": k.shape[1], "valid": valid,
            "q0": q0, "scale": scale, "distances": 0 if bias is None else bias.shape[1]}
    overrides = {"DH": q.shape[2], "BIAS": bias is not None, **overrides}
    if kernel == "attention_tiled" and q.shape[2] > 256:
        overrides["QUERIES"] = 8
    bias = np.full((1, 1), np.nan, np.float32) if bias is None else bias
    return gpu.run(kernel, dims, {"q": q, "k": k, "v": v, "bias": bias, "o": q.shape}, overrides)


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


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_scale(kernel, scale):
    q, k, v, valid, _ = data("grouped heads", 0.5)
    scale = float(np.float32(scale))
    assert_close(kernel, f"scale {scale}", run(kernel, q, k, v, valid, scale),
                 oracles.attention(q, k, v, valid, scale))


@pytest.mark.parametrize("kernel, case", FEW_RUNS)
@pytest.mark.parametrize("softcap", [50, 2])
def test_softcap(kernel, case, softcap):
    """Scores far below the cap, and up to several times the cap."""
    q, k, v, valid, by_width = data(case, scale=1.5)
    got = run(kernel, q, k, v, valid, by_width, SOFTCAP=softcap)
    assert_close(kernel, f"{case}, cap {softcap}", got,
                 oracles.attention(q, k, v, valid, by_width, softcap=softcap))


@pytest.mark.parametrize("kernel", KERNELS)
def test_softcap_of_scores_that_overflow_exp(kernel):
    """Whole numbers, exact in f32: -9e4, ..., 9e4 all become about -50 or 50."""
    q, k = np.zeros((8, 1, 16), np.float32), np.zeros((20, 1, 16), np.float32)
    q[:, 0, 0], k[:, 0, 0] = np.arange(-300, 301, 80), np.linspace(-300, 300, 20).round()
    v = normal(2, 20, 1, 16)
    got = run(kernel, q, k, v, 20, 1.0, SOFTCAP=50)
    assert_close(kernel, "scores to 9e4", got, oracles.attention(q, k, v, 20, 1.0, softcap=50))


def by_distance(heads, tq, tk, q0=0):
    """A table for tq queries from q0 on, the sequence's last, and tk keys; and for each pair."""
    table = normal(5, heads, q0 + tq + tk - 1)
    i, j = np.arange(q0, q0 + tq)[:, None], np.arange(tk)[None, :]
    return table, table[:, q0 + tq - 1 + j - i]


@pytest.mark.parametrize("kernel, case", FEW_RUNS)
def test_bias(kernel, case):
    q, k, v, valid, scale = data(case)
    table, bias = by_distance(q.shape[1], len(q), len(k))
    assert_close(kernel, case, run(kernel, q, k, v, valid, scale, bias=table),
                 oracles.attention(q, k, v, valid, scale, bias=bias))


@pytest.mark.parametrize("kernel", KERNELS)
def test_bias_grows_with_the_key_and_falls_with_the_query(kernel):
    """Equal scores; -80 hides a key: query i is left with the keys i + 2 and i + 3, if any."""
    q, k, v = np.zeros((3, 1, 16), np.float32), normal(1, 5, 1, 16), normal(2, 5, 1, 16)
    table = np.float32([[-80, -80, -80, -80, 0, 0, -80]])  # of the distances -2..4
    got = run(kernel, q, k, v, 5, 1.0, bias=table)
    want = np.stack([v[2:4].mean(axis=0), v[3:5].mean(axis=0), v[4]])
    assert_close(kernel, "two keys", got, want)


@pytest.mark.parametrize("kernel, case", FEW_RUNS)
@pytest.mark.parametrize("window", [1, 30])
def test_window(kernel, case, window):
    q, k, v, valid, scale = data(case)
    got = run(kernel, q, k, v, valid, scale, CAUSAL=True, WINDOW=window)
    want = oracles.attention(q, k, v, valid, scale, causal=True, window=window)
    assert_close(kernel, f"{case}, {window} keys", got, want)


@pytest.mark.parametrize("kernel", KERNELS)
def test_queries_without_a_key_are_zero(kernel):
    """Beyond valid, and farther than the window: 40 queries, 10 keys that count, 4 back."""
    q, k, v = normal(1, 40, 2, 32), normal(2, 40, 1, 32), normal(3, 40, 1, 32)
    got = run(kernel, q, k, v, 10, 1.0, CAUSAL=True, WINDOW=4)
    assert not got[13:].any() and got[:13].all()
    assert_close(kernel, "window 4, 10 of 40 keys", got,
                 oracles.attention(q, k, v, 10, 1.0, causal=True, window=4))


@pytest.mark.parametrize("kernel", KERNELS)
def test_all_at_once_in_rows_of_a_longer_sequence(kernel):
    q, k, v, valid, scale = data("longer than a tile")
    table, bias = by_distance(q.shape[1], len(q), len(k), q0=100)
    got = run(kernel, q, k, v, valid, scale, q0=100, bias=table, CAUSAL=True, WINDOW=77, SOFTCAP=2)
    want = oracles.attention(q, k, v, valid, scale, causal=True, q0=100, softcap=2, window=77,
                             bias=bias)
    assert_close(kernel, "q0 = 100", got, want)


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
