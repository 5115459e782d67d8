"""Gemma 2 on WebGPU, alone: its rows are those of transformers' Gemma2Model in float32.

Texts are random ids, padded on the right. The window is shorter than they are, the scores are as
large as the cap, and the heads' width is not that of the state divided among them.
"""

import json

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2Model

from export import layouts
from export.families.family import ENCODER, Part
from export.packing.memory import SIZES_BYTES, Picture
from export.text_encoders import gemma2
from tests.browser.encoding import Encoding, write_encoders
from tests.closeness import relative_error
from tests.export.packed import PackedSite

LIMIT = 5e-6   # relative L2 error, f32 on both sides
SHARED = 1e-6  # with and without a prefix
PART = Part("text_encoder", ENCODER, gemma2, lambda file, asked: gemma2.read_config(file),
            layouts.LINEAR, "text_encoder")
COMMON = {"vocab_size": 70, "num_attention_heads": 6, "num_key_value_heads": 2,
          "attn_logit_softcapping": 3.0, "sliding_window": 7, "query_pre_attn_scalar": 11,
          "rms_norm_eps": 1e-5, "attn_implementation": "eager",
          "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
SHAPES = {  # name: configuration, and --text-encoder-bits
    "odd": (COMMON | {"hidden_size": 36, "num_hidden_layers": 3, "head_dim": 20,
                      "intermediate_size": 52}, 16),
    "packed": (COMMON | {"hidden_size": 192, "num_hidden_layers": 2, "head_dim": 32,
                         "intermediate_size": 64}, 4),
}
LENGTH, VALID, PREFIX = 40, 23, 9
KEEP = [[0, 1], [7, 9], [21, 2]]  # in the prefix, across its end, up to the last
KEPT = [0, *range(7, 16), 21, 22]


@pytest.fixture(scope="module")
def models():
    """name -> Gemma2Model of random weights, float32."""
    torch.manual_seed(0)
    return {name: filled(Gemma2Model(Gemma2Config(**config)).eval())
            for name, (config, _) in SHAPES.items()}


@torch.no_grad()
def filled(model):
    """Queries and keys are large, so that the cap bites, and states faint, so that eps shows."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape)
        if p.ndim == 1:
            p.copy_(0.3 * noise)
        elif "embed_tokens" in name:
            p.copy_(0.01 * noise)
        else:
            p.copy_((2 if "q_proj" in name or "k_proj" in name else 1) * noise / p.shape[1] ** 0.5)
    return model


@pytest.fixture(scope="module")
def dist(models, tmp_path_factory):
    return write_encoders(tmp_path_factory, PART, models, SHAPES)


@pytest.fixture(scope="module")
def encode(engine, url):
    return Encoding(engine, url, PART, "gemma2")


def text(seed, prefix=0, keep=None):
    """Tokens as a page has them; with a prefix, its ids are those of every seed."""
    ids = np.random.default_rng(seed).integers(0, 70, LENGTH)
    ids[:prefix] = np.random.default_rng(99).integers(0, 70, prefix)
    ids[VALID:] = 0
    tokens = {"ids": ids.tolist(), "valid": VALID}
    return tokens | ({"prefix": prefix} if prefix else {}) | ({"keep": keep} if keep else {})


@torch.no_grad()
def reference(model, tokens):
    """[VALID, D] of the padded text, its padding masked."""
    mask = (torch.arange(LENGTH) < VALID).long()[None]
    rows = model(torch.tensor([tokens["ids"]]), attention_mask=mask).last_hidden_state
    return rows[0, :VALID].numpy()


def test_the_rows_are_those_of_transformers(models, encode):
    tokens = text(1)
    want = reference(models["odd"], tokens)
    for key, value in (("attn_logit_softcapping", 1e6), ("sliding_window", 100),
                       ("query_pre_attn_scalar", 20), ("rms_norm_eps", 1e-6),
                       ("hidden_activation", "gelu")):
        other = Gemma2Model(Gemma2Config(**SHAPES["odd"][0] | {key: value})).eval()
        other.load_state_dict(models["odd"].state_dict())
        assert relative_error(reference(other, tokens), want) > 20 * LIMIT, f"{key} does nothing"
    [got] = encode("odd", tokens)
    assert relative_error(got["rows"], want) <= LIMIT


def test_a_prefix_is_computed_once_and_changes_nothing(models, encode):
    """The keys and values that are kept serve other texts, until the model is let go."""
    texts = [text(seed, PREFIX, KEEP) for seed in (1, 2)]
    whole = encode("odd", *(t | {"prefix": 0} for t in texts))
    first, second, same = encode("odd", texts[1], *texts)
    again, fresh = encode("odd", texts[0], None, texts[1])
    for got, alone, tokens in ((second, whole[0], texts[0]), (same, whole[1], texts[1])):
        assert got["shape"] == [len(KEPT), 36]
        assert relative_error(got["rows"], reference(models["odd"], tokens)[KEPT]) <= LIMIT
        assert relative_error(got["rows"], alone["rows"]) <= SHARED
    assert second["cost"] == same["cost"] < first["cost"] == fresh["cost"]
    for one, other in ((first, same), (fresh, same), (again, second)):
        np.testing.assert_array_equal(one["rows"], other["rows"])


def test_of_a_prefix_that_was_cancelled_nothing_is_kept(encode):
    tokens = text(1, PREFIX, KEEP)
    told, rows = encode.after_cancel("odd", tokens)
    assert told == "AbortError"
    [want] = encode("odd", tokens)
    np.testing.assert_array_equal(rows, want["rows"])


def test_another_prefix_is_computed_anew(models, encode):
    texts = [text(1, PREFIX), text(1, PREFIX + 1), text(1, VALID), text(1)]
    texts[1]["ids"][0] += 1
    for got, tokens in zip(encode("odd", *texts), texts, strict=True):
        assert relative_error(got["rows"], reference(models["odd"], tokens)) <= LIMIT


def test_layer_by_layer_it_is_the_same_in_less_memory(encode):
    texts = [text(1, PREFIX, KEEP), text(2, PREFIX, KEEP), text(3)]
    for kept, streamed in zip(encode("packed", *texts), encode("packed", *texts, budget=0),
                              strict=True):
        np.testing.assert_array_equal(kept["rows"], streamed["rows"])
        assert streamed["peakBytes"] < kept["peakBytes"]


def test_four_bits(models, dist, encode):
    """The rows are those of the weights that the site stores, of which 1 + w are the norms'."""
    site, state = PackedSite(dist / "packed"), models["packed"].state_dict()
    for name in state:
        stored = site.weight(f"text_encoder.{name}")
        state[name] = torch.from_numpy(stored - (stored.ndim == 1)).float()
    model = Gemma2Model(Gemma2Config(**SHAPES["packed"][0])).eval()
    model.load_state_dict(state)
    tokens = text(1, PREFIX)
    [got] = encode("packed", tokens)
    assert relative_error(got["rows"], reference(model, tokens)) <= LIMIT
    assert relative_error(got["rows"], reference(models["packed"], tokens)) > 1e-2


@pytest.mark.parametrize("budget", [0, 2**30])
@pytest.mark.parametrize("prefix", [0, PREFIX])
def test_a_rehearsal_tells_the_memory_and_the_kernels(dist, encode, prefix, budget):
    """Those of the longest text, the first one after a prefix, about as the exporter reckons; and
    the kernels of a short one."""
    tokens = text(1, prefix, KEEP)
    short = tokens | {"ids": tokens["ids"][:VALID], "valid": 1}
    rehearsed = encode.rehearse("packed", short, budget)
    assert set(rehearsed["asked"]) == {"linear_packed", "linear_packed few", "attention"}
    first, second = encode("packed", tokens, text(2, prefix, KEEP), budget=budget)
    assert second["peakBytes"] <= first["peakBytes"] == rehearsed["peakBytes"]
    component = component_of(dist, "packed")
    config = gemma2.Gemma2Config(**component["config"])
    layers = 1 if budget else gemma2.streamed_layers(config)
    reckoned = (SIZES_BYTES + component["gpu_bytes"] // layers
                + gemma2.activation_bytes(config, Picture(0, 0, 0, 0, VALID)))
    assert 0.9 < reckoned / rehearsed["peakBytes"] < 1.15


def component_of(dist, name):
    manifest = json.loads((dist / name / "manifest.json").read_text(encoding="utf-8"))
    return manifest["components"]["text_encoder"]


def test_what_transformers_writes_reaches_the_page(dist):
    config = component_of(dist, "odd")["config"]
    assert config["rope_theta"] == 500 and config["attn_logit_softcapping"] == 3
    assert config["layer_types"] == ["sliding_attention", "full_attention", "sliding_attention"]
