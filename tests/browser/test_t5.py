"""T5's encoder on WebGPU, alone: its rows are those of transformers' T5EncoderModel in float32.

Ids are random, and none is masked. They are more than the distance from which on all share a
bucket, and the heads' width is not that of the state divided among them.
"""

import json

import numpy as np
import pytest
import torch
from transformers import T5Config, T5EncoderModel

from export import layouts
from export.families.family import ENCODER, Part
from export.packing.memory import SIZES_BYTES, Picture
from export.text_encoders import t5
from tests.browser.encoding import Encoding, write_encoders
from tests.closeness import relative_error
from tests.export.packed import PackedSite

LIMIT = 5e-6  # relative L2 error, f32 on both sides
PART = Part("text_encoder_2", ENCODER, t5, lambda file, asked: t5.read_config(file),
            layouts.LINEAR, "text_encoder_2")
COMMON = {"vocab_size": 70, "relative_attention_num_buckets": 10, "layer_norm_epsilon": 1e-5,
          "relative_attention_max_distance": 24, "feed_forward_proj": "gated-gelu"}
SHAPES = {  # name: configuration, and --text-encoder-bits
    "odd": (COMMON | {"d_model": 36, "d_kv": 20, "d_ff": 52, "num_layers": 3, "num_heads": 3}, 16),
    "packed": (COMMON | {"d_model": 128, "d_kv": 32, "d_ff": 320, "num_layers": 3,
                         "num_heads": 6}, 4),
}
BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
LENGTH = 45


@pytest.fixture(scope="module")
def models():
    """name -> T5EncoderModel of random weights, float32."""
    torch.manual_seed(0)
    return {name: filled(T5EncoderModel(T5Config(**config)).eval())
            for name, (config, _) in SHAPES.items()}


@torch.no_grad()
def filled(model):
    """Scores of about 1 and biases too, and states so faint that eps shows."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape)
        if p.ndim == 1 or name == BIAS:
            p.copy_(noise)
        elif name == "shared.weight":
            p.copy_(0.01 * noise)
        else:
            small = p.shape[0] ** -0.25 if ".q." in name or ".k." in name else 1
            p.copy_(small * noise / p.shape[1] ** 0.5)
    return model


@pytest.fixture(scope="module")
def dist(models, tmp_path_factory):
    return write_encoders(tmp_path_factory, PART, models, SHAPES)


@pytest.fixture(scope="module")
def encoding(engine, url):
    return Encoding(engine, url, PART, "t5")


@pytest.fixture
def encode(encoding):
    """encode(name, ids, **options) -> rows [S, D], and peakBytes."""
    def run(name, ids, **options):
        [done] = encoding(name, text_of(ids), **options)
        return done["rows"], done["peakBytes"]

    return run


def text_of(ids):
    return {"ids": ids.tolist(), "valid": len(ids)}


def ids_of(seed, length=LENGTH):
    """Random ids, and padding behind them that counts as any other."""
    ids = np.random.default_rng(seed).integers(1, 70, length)
    ids[length * 2 // 3:] = 0
    return ids


@torch.no_grad()
def reference(model, ids):
    return model(torch.tensor(ids)[None]).last_hidden_state[0].numpy()


def test_the_rows_are_those_of_transformers(models, encode):
    ids = ids_of(1)
    want = reference(models["odd"], ids)
    for key, value in (("relative_attention_num_buckets", 12), ("layer_norm_epsilon", 1e-6),
                       ("relative_attention_max_distance", 40),
                       ("feed_forward_proj", "gated-silu")):
        state = models["odd"].state_dict()
        if "buckets" in key:
            state[BIAS] = torch.cat([state[BIAS], state[BIAS][:2]])
        other = T5EncoderModel(T5Config(**SHAPES["odd"][0] | {key: value})).eval()
        other.load_state_dict(state)
        assert relative_error(reference(other, ids), want) > 20 * LIMIT, f"{key} does nothing"
    got, _ = encode("odd", ids)
    assert got.shape == (LENGTH, 36)
    assert relative_error(got, want) <= LIMIT


@pytest.mark.parametrize("length", [1, 3])
def test_few_ids(models, encode, length):
    ids = ids_of(2, length)
    assert relative_error(encode("odd", ids)[0], reference(models["odd"], ids)) <= LIMIT


def test_four_bits(models, dist, encode):
    """The rows are those of the weights that the site stores."""
    site, state = PackedSite(dist / "packed"), models["packed"].state_dict()
    for name in state:
        own = name.replace("shared", "encoder.embed_tokens")
        stored = site.weight(f"text_encoder_2.{own}")
        if stored.ndim == 1 or name == BIAS:
            np.testing.assert_array_equal(stored, state[name].numpy())
        state[name] = torch.from_numpy(stored).float()
    model = T5EncoderModel(T5Config(**SHAPES["packed"][0])).eval()
    model.load_state_dict(state)
    ids = ids_of(3)
    got, _ = encode("packed", ids)
    assert relative_error(got, reference(model, ids)) <= LIMIT
    assert relative_error(got, reference(models["packed"], ids)) > 1e-2


def test_block_by_block_it_is_the_same_in_less_memory(dist, encode):
    """Of three blocks never more than one is there."""
    ids = ids_of(4)
    (kept, whole), (streamed, less) = (encode("packed", ids, budget=budget)
                                       for budget in (2**30, 0))
    np.testing.assert_array_equal(streamed, kept)
    tensors = PackedSite(dist / "packed").manifest["tensors"]
    block = sum(extent[2] for name, entry in tensors.items() if ".block.1." in name
                for part in ("codes", "scales", "biases") for extent in entry.get(part, []))
    assert whole - less > 1.9 * block


@pytest.mark.parametrize("budget", [0, 2**30])
def test_a_rehearsal_tells_the_memory_and_the_kernels(encoding, dist, encode, budget):
    """As it is counted, and about as the exporter reckons."""
    ids = ids_of(5)
    rehearsed = encoding.rehearse("packed", text_of(ids), budget)
    assert set(rehearsed["asked"]) == {"linear_packed", "attention"}
    _, peak = encode("packed", ids, budget=budget)
    assert peak == rehearsed["peakBytes"]
    manifest = json.loads((dist / "packed" / "manifest.json").read_text(encoding="utf-8"))
    component = manifest["components"]["text_encoder_2"]
    config = t5.T5Config(**component["config"])
    layers = 1 if budget else t5.streamed_layers(config)
    reckoned = (SIZES_BYTES + component["gpu_bytes"] // layers
                + t5.activation_bytes(config, Picture(0, 0, 0, 0, LENGTH)))
    assert 0.95 < reckoned / peak < 1.05
