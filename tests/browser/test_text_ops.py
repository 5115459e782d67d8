"""Attention, norms and rope as the engine records them for Gemma, T5, CLIP and Sana."""

import base64

import numpy as np
import pytest

from tests import oracles
from tests.browser.opened_engine import OPEN
from tests.kernels.packing import normal
from tests.tolerance import assert_close

RUN = """
async ({ op, inputs, options, named = {}, cost }) => {
  const { ops } = opened;
  const put = ({ data, shape, label }) => ops.upload(
    new Float32Array(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer), shape, label);
  if (cost) Object.defineProperty(ops, 'dispatchCost', { value: cost, configurable: true });
  let dispatches = 0;
  ops.dispatch = (...call) => {
    dispatches += 1;
    return Object.getPrototypeOf(ops).dispatch.apply(ops, call);
  };
  try {
    const tensors = Object.entries(named).map(([name, given]) => [name, put(given)]);
    const last = { ...options, ...Object.fromEntries(tensors) };
    const value = (input) => (Array.isArray(input) ? input.map(value)
      : input.data ? put(input) : input);
    const given = inputs.map(value);
    const y = ops[op](...given, last);
    return { got: [...new Float32Array(await ops.read(y))], shape: y.shape, dispatches };
  } catch ({ name, message }) {
    return { name, message };
  } finally {
    ops.reset();
    delete ops.dispatchCost;
    delete ops.dispatch;
  }
}
"""
CHECK = "async (variants) => opened.findWrong(opened.ops, variants)"
CHECKED = [
    ("attention", {"DH": 256, "CAUSAL": 1, "SOFTCAP": 50}),
    ("attention", {"DH": 64, "BIAS": 1}),
    ("attention", {"DH": 32, "CAUSAL": 1, "WINDOW": 3, "SOFTCAP": 2, "BIAS": 1}),
    ("attention_tiled", {"DH": 112, "QUERIES": 32}),
    ("attention_tiled", {"DH": 32, "CAUSAL": 1, "WINDOW": 3, "SOFTCAP": 2, "BIAS": 1}),
    ("rms_norm", {"BIAS": 1}), ("layer_norm", {}), ("rope", {}), ("rope", {"HALF_SPLIT": 1}),
]
EPS = 1e-5


@pytest.fixture(scope="module")
def url(made, site, server):
    return server(site(made("shallow")))


def tensor(array, label="input"):
    data = base64.b64encode(np.ascontiguousarray(array, np.float32).tobytes()).decode()
    return {"data": data, "shape": array.shape, "label": label}


def run(page, op, *inputs, options=None, **call):
    """(result, dispatches) of one op; inputs are arrays or numbers."""
    given = [tensor(x) if isinstance(x, np.ndarray) else x for x in inputs]  # or as RUN takes them
    done = page.evaluate(RUN, {"op": op, "inputs": given, "options": options or {}, **call})
    assert "got" in done, done
    return np.float32(done["got"]).reshape(done["shape"]), done["dispatches"]


def heads(seed, tokens, count, width):
    return normal(seed, tokens, count, width)


def flat(x):
    return x.reshape(len(x), -1)


@pytest.mark.parametrize("cost, dispatches", [(None, 1), (1, 3)])
def test_attention_with_all_that_a_score_may_have(engine, cost, dispatches):
    """150 queries; dispatches that may cost nothing take 64 each, and their place with them."""
    q, k, v = heads(1, 150, 4, 32), heads(2, 150, 2, 32), heads(3, 150, 2, 32)
    table = normal(4, 4, 299)
    i, j = np.arange(150)[:, None], np.arange(150)[None, :]
    options = {"headWidth": 32, "scale": 0.5, "causal": True, "valid": 140, "window": 70,
               "softcap": 2}
    got, made = run(engine, "attention", flat(q), flat(k), flat(v), options=options, cost=cost,
                    named={"bias": tensor(table)})
    want = oracles.attention(q, k, v, 140, 0.5, causal=True, softcap=2, window=70,
                             bias=table[:, 149 + j - i])
    assert made == dispatches
    assert_close("attention", "all options", got, flat(want))


def test_attention_of_a_picture_to_the_words_that_count(engine):
    q, k, v = heads(1, 20, 3, 112), heads(2, 33, 3, 112), heads(3, 33, 3, 112)
    k[17:] = v[17:] = np.nan
    got, _ = run(engine, "attention", flat(q), flat(k), flat(v),
                 options={"headWidth": 112, "valid": 17})
    assert_close("attention", "17 of 33 keys", got,
                 flat(oracles.attention(q, k, v, 17, float(np.float32(112**-0.5)))))


@pytest.mark.parametrize("cost, dispatches", [(None, 1), (1, 2)])
def test_attention_of_queries_that_begin_behind_other_keys(engine, cost, dispatches):
    q, k, v = heads(1, 90, 4, 32), heads(2, 123, 2, 32), heads(3, 123, 2, 32)
    table = normal(4, 4, 33 + 90 + 122)
    i, j = 33 + np.arange(90)[:, None], np.arange(123)[None, :]
    options = {"headWidth": 32, "scale": 0.5, "causal": True, "window": 50, "softcap": 2, "at": 33}
    got, made = run(engine, "attention", flat(q), flat(k), flat(v), options=options, cost=cost,
                    named={"bias": tensor(table)})
    want = oracles.attention(q, k, v, 123, 0.5, causal=True, q0=33, softcap=2, window=50,
                             bias=table[:, 122 + j - i])
    assert made == dispatches
    assert_close("attention", "33 keys before", got, flat(want))


def test_rows_one_after_another(engine):
    """Of any width, so that few of them begin where a view may."""
    x, y = normal(1, 5, 3), normal(2, 4, 3)
    pieces = [[tensor(x), 1, 3], [tensor(y), 3, 1], [tensor(y), 0, 2]]
    got, made = run(engine, "joinRows", pieces, "joined")
    assert made == 0
    np.testing.assert_array_equal(got, np.concatenate([x[1:4], y[3:], y[:2]]))


@pytest.mark.parametrize("pieces, words", [
    ([[(5, 3), 3, 3]], "joinRows joined: 3 rows from 3 on, of [5,3]"),
    ([[(5, 3), 1, 0]], "joinRows joined: 0 rows from 1 on, of [5,3]"),
    ([[(5, 3), 1, 1], [(5, 4), 1, 1]], "is [5,4], expected [5,3]"),
])
def test_rows_that_are_not_there(engine, pieces, words):
    inputs = [[[tensor(normal(1, *shape)), *rows] for shape, *rows in pieces], "joined"]
    done = engine.evaluate(RUN, {"op": "joinRows", "inputs": inputs, "options": {}})
    assert done["name"] == "ShapeError" and words in done["message"]


def test_a_window_that_holds_every_key_is_none(engine):
    made = engine.evaluate("""async () => {
      const { attentionSite } = await import(new URL('engine/attention.js', library.code));
      return [40, 39].map((window) => attentionSite({ headWidth: 8, causal: true, window }, 40));
    }""")
    assert made == [{"DH": 8, "CAUSAL": 1}, {"DH": 8, "CAUSAL": 1, "WINDOW": 39}]


def test_layer_norm(engine):
    x, w, b = normal(1, 9, 70), normal(2, 70), normal(3, 70)
    got, _ = run(engine, "layerNorm", x, w, b, EPS)
    assert_close("layer_norm", "9 x 70", got, oracles.layer_norm(x, w, b, np.float32(EPS)))


@pytest.mark.parametrize("biased", [False, True])
def test_rms_norm_of_pixels(engine, biased):
    x, w, b = normal(1, 3, 5, 24), normal(2, 24), normal(3, 24)
    got, _ = run(engine, "rmsNorm", x, w, EPS, named={"bias": tensor(b)} if biased else {})
    want = oracles.rms_norm(x.reshape(15, 24), w, np.float32(EPS), b if biased else 0)
    assert_close("rms_norm", f"bias {biased}", got, want.reshape(x.shape))


@pytest.mark.parametrize("half_split", [False, True])
def test_rope(engine, half_split):
    x, angles = heads(1, 5, 3, 16), normal(2, 9, 8, 2)
    got, _ = run(engine, "rope", flat(x), angles,
                 options={"headWidth": 16, "t0": 4, "halfSplit": half_split})
    assert_close("rope", "from row 4 on", got, flat(oracles.rope(x, angles[4:], half_split)))


@pytest.mark.parametrize("op, shapes, options, words", [
    ("attention", [(5, 24), (5, 24), (5, 24)], {"headWidth": 16}, "expected heads of 16"),
    ("attention", [(5, 32), (5, 64), (5, 64)], {"headWidth": 32}, "as many of q to each of k"),
    ("rope", [(5, 32), (5, 7, 2)], {"headWidth": 16}, "expected [5,8,2]"),
    ("rope", [(5, 32), (7, 8, 2)], {"headWidth": 16, "t0": 3}, "do not reach row 8"),
    ("layerNorm", [(5, 32), (32,), (31,)], {}, "is [31], expected [32]"),
])
def test_what_does_not_fit_is_refused(engine, op, shapes, options, words):
    inputs = [tensor(normal(1, *shape)) for shape in shapes]
    done = engine.evaluate(RUN, {"op": op, "inputs": inputs, "options": options})
    assert done["name"] == "ShapeError" and words in done["message"]


@pytest.mark.parametrize("op, inputs, bias, words", [
    ("attention", [(5, 32), (6, 32), (6, 32)], (2, 11), "is [2,11], expected [2,10]"),
    ("rmsNorm", [(5, 32), (32,)], (31,), "its bias has 31"),
])
def test_a_bias_of_another_shape_is_refused(engine, op, inputs, bias, words):
    given = [tensor(normal(1, *shape)) for shape in inputs] + [EPS] * (op == "rmsNorm")
    done = engine.evaluate(RUN, {"op": op, "inputs": given, "options": {"headWidth": 16},
                                 "named": {"bias": tensor(normal(2, *bias), "bias")}})
    assert done["name"] == "ShapeError" and words in done["message"]


def test_every_kernel_knows_its_answer(engine):
    assert engine.evaluate(CHECK, CHECKED) == ""


@pytest.mark.parametrize("file, right, wrong, variant", [
    ("parts/scores", "score = cap(score)", "score = 1.0 * score", 0),
    ("parts/scores", "dims.Tk + key", "dims.Tk + 1u + key", 1),
    ("parts/scores", "key + WINDOW", "key + 1u + WINDOW", 4),
    ("rms_norm", "value += b[d]", "value += 1.01 * b[d]", 5),
    ("layer_norm", "+ b[d]", "+ 1.01 * b[d]", 6),
    ("rope", "b * angle.x + a", "b * angle.x - a", 7),
])
def test_one_that_is_wrong_is_found_out(altered, file, right, wrong, variant):
    page = altered(file, right, wrong).page
    page.evaluate(OPEN)
    message = page.evaluate(CHECK, [CHECKED[variant]])
    name, _ = CHECKED[variant]
    assert f"computes {name} " in message and "wrongly" in message
