import numpy as np
import pytest

from tests import oracles
from tests.kernels import gpu
from tests.kernels.packing import normal
from tests.tolerance import assert_close

CASES = {  # T, H, DH, tokens of a slice
    "smallest": (1, 1, 4, 256),
    "ragged": (37, 3, 20, 16),
    "a slice": (256, 2, 32, 256),
    "real": (1024, 3, 32, 256),
    "wide heads": (70, 2, 64, 32),
}


def run(q, k, v, slice_tokens, width, step, at, heads):
    """(partials, sums, o) of heads = (H, DH) that lie in rows of `width`, `step` apart, those of q,

    k and v from the columns `at` on.
    """
    tokens, (count, dh) = len(q), heads
    places = dict(zip(("q_at", "k_at", "v_at"), at, strict=True))
    rows = {"T": tokens, "H": count, "width": width, "step": step}
    slices = -(-tokens // slice_tokens)
    dims = rows | {"slice": slice_tokens, "first": 0, "k_at": places["k_at"],
                   "v_at": places["v_at"]}
    constants = {"DH": dh}
    partials = gpu.run("linear_attention_sums", dims,
                       {"k": k, "v": v, "partials": (slices, count, dh + 1, dh)}, constants)
    sums = gpu.run("linear_attention_merge", {"slices": slices, "count": partials[0].size},
                   {"partials": partials, "sums": partials.shape[1:]}, most_groups=3)
    o = gpu.run("linear_attention_apply", rows | {"q_at": places["q_at"]},
                {"q": q, "sums": sums, "o": (tokens, count, dh)}, constants)
    return partials, sums, o


def data(case):
    tokens, heads, dh, slice_tokens = CASES[case]
    q, k, v = (normal(seed, tokens, heads, dh) for seed in range(3))
    return q, k, v, slice_tokens


@pytest.mark.parametrize("case", CASES)
def test_linear_attention(case):
    q, k, v, slice_tokens = data(case)
    q[-1, 0] = -1  # a query that sees nothing is 0, not 0 / 0
    heads, dh = q.shape[1:]
    partials, sums, o = run(q, k, v, slice_tokens, heads * dh, dh, (0, 0, 0), (heads, dh))
    assert_close("linear_attention_sums", case, partials,
                 oracles.linear_attention_sums(k, v, slice_tokens))
    assert_close("linear_attention_merge", case, sums, oracles.linear_attention_merge(partials))
    assert_close("linear_attention_apply", case, o, oracles.linear_attention_apply(q, sums))
    assert_close("linear_attention", case, o, oracles.linear_attention(q, k, v))
    assert (o[-1, 0] == 0).all()


def test_heads_that_lie_side_by_side_with_their_keys_and_values():
    """Rows of [q|k|v] by head, as the autoencoder has them, after eight columns of others."""
    q, k, v, slice_tokens = data("ragged")
    tokens, heads, dh = q.shape
    others = np.full((tokens, 8), np.nan, np.float32)
    rows = np.concatenate([others, np.concatenate([q, k, v], axis=2).reshape(tokens, -1)], axis=1)
    *_, o = run(rows, rows, rows, slice_tokens, rows.shape[1], 3 * dh,
                (8, 8 + dh, 8 + 2 * dh), (heads, dh))
    assert_close("linear_attention", "side by side", o, oracles.linear_attention(q, k, v))


def test_slices_go_to_their_own_place():
    _, k, v, slice_tokens = data("ragged")
    tokens, heads, dh = k.shape
    partials = np.full((3, heads, dh + 1, dh), np.nan, np.float32)
    for first, part in [(2, slice(32, None)), (0, slice(0, 32))]:
        dims = {"T": len(k[part]), "H": heads, "slice": slice_tokens, "first": first,
                "width": heads * dh, "step": dh, "k_at": 0, "v_at": 0}
        partials = gpu.run("linear_attention_sums", dims,
                           {"k": k[part], "v": v[part], "partials": partials}, {"DH": dh})
    assert_close("linear_attention_sums", "in two dispatches", partials,
                 oracles.linear_attention_sums(k, v, slice_tokens))


def test_many_tokens():
    """16384 values of mean 100: sums in one long run would lose a digit."""
    tokens, dh = 16384, 16
    q, k = normal(1, tokens, 1, dh), normal(2, tokens, 1, dh)
    v = normal(3, tokens, 1, dh) + np.float32(100)
    *_, o = run(q, k, v, 256, dh, dh, (0, 0, 0), (1, dh))
    sums = oracles.linear_attention_merge(oracles.linear_attention_sums(k, v, 256))
    assert_close("linear_attention", "16384 tokens", o, oracles.linear_attention_apply(q, sums))
