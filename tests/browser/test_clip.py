"""CLIP's text model on WebGPU, alone: its pooled row is that of transformers' CLIPTextModel in f32.

Ids are random, with an end in their midst, behind which is padding that nobody masks.
"""

import json

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from export import layouts
from export.families.family import ENCODER, Part
from export.packing.memory import SIZES_BYTES, Picture
from export.text_encoders import clip
from tests.browser.encoding import Encoding, write_encoders
from tests.closeness import relative_error
from tests.export.packed import PackedSite

LIMIT = 5e-6  # relative L2 error, f32 on both sides
PART = Part("text_encoder", ENCODER, clip, lambda file, asked: clip.read_config(file),
            layouts.LINEAR, "text_encoder")
COMMON = {"vocab_size": 70, "max_position_embeddings": 21, "num_hidden_layers": 3,
          "layer_norm_eps": 1e-3, "attn_implementation": "eager"}
SHAPES = {  # name: configuration, and --text-encoder-bits
    "odd": (COMMON | {"hidden_size": 60, "intermediate_size": 52, "num_attention_heads": 3,
                      "eos_token_id": 2}, 16),
    "packed": (COMMON | {"hidden_size": 128, "intermediate_size": 192, "num_attention_heads": 4,
                         "eos_token_id": 50}, 4),
}
LENGTH, END, EOS = 21, 12, 50


@pytest.fixture(scope="module")
def models():
    """name -> CLIPTextModel of random weights, float32."""
    torch.manual_seed(0)
    return {name: filled(CLIPTextModel(CLIPTextConfig(**config)).eval())
            for name, (config, _) in SHAPES.items()}


@torch.no_grad()
def filled(model):
    """Scores of about 1, biases that count, and states so faint that eps shows."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape)
        if "embedding" in name:
            p.copy_(0.05 * noise)
        elif p.ndim == 1:
            p.copy_(0.3 * noise + ("norm" in name and "weight" in name))
        else:
            p.copy_(noise / p.shape[1] ** 0.5)
    return model


@pytest.fixture(scope="module")
def dist(models, tmp_path_factory):
    return write_encoders(tmp_path_factory, PART, models, SHAPES)


@pytest.fixture(scope="module")
def encoding(engine, url):
    return Encoding(engine, url, PART, "clip")


@pytest.fixture
def encode(encoding):
    """encode(name, ids, **options) -> the pooled row [D], cost, and peakBytes."""
    def run(name, ids, **options):
        [done] = encoding(name, text_of(ids), **options)
        (row,) = done["rows"]
        return row, done["cost"], done["peakBytes"]

    return run


def text_of(ids):
    return {"ids": ids.tolist(), "valid": len(ids)}


def ids_of(seed, end=END, eos=EOS):
    """Ids with an end, another behind it, and larger ones after that."""
    ids = np.random.default_rng(seed).integers(0, eos, LENGTH)
    ids[end::4] = eos
    return ids


@torch.no_grad()
def reference(model, ids):
    return model(torch.tensor(ids)[None]).pooler_output[0].numpy()


def test_the_row_is_that_of_transformers(models, encode):
    """Also in what its configuration says, all of which shows."""
    ids = ids_of(1)
    want = reference(models["odd"], ids)
    for key, value in (("hidden_act", "gelu"), ("layer_norm_eps", 1e-5),
                       ("num_attention_heads", 4)):
        other = CLIPTextModel(CLIPTextConfig(**SHAPES["odd"][0] | {key: value})).eval()
        other.load_state_dict(models["odd"].state_dict())
        assert relative_error(reference(other, ids), want) > 20 * LIMIT, f"{key} does nothing"
    got, *_ = encode("odd", ids)
    assert relative_error(got, want) <= LIMIT


@pytest.mark.parametrize(("name", "ids"), [
    ("odd", ids_of(2, eos=69)),  # the first of the largest ids
    ("packed", np.append(ids_of(3)[:-1], 69)),  # the first end, a larger id behind it
    ("odd", ids_of(4, end=0)), ("odd", ids_of(5, end=1)), ("packed", ids_of(6, end=7)),
    ("packed", ids_of(7, eos=49)),  # no end: as transformers, the first row
])
def test_where_a_text_ends(models, dist, encode, name, ids):
    model = models[name] if name == "odd" else stored(models, dist)
    assert relative_error(encode(name, ids)[0], reference(model, ids)) <= LIMIT


def stored(models, dist):
    """The model of the weights that the site stores, in four bits."""
    site, state = PackedSite(dist / "packed"), models["packed"].state_dict()
    for name in state:
        values = site.weight(f"text_encoder.{name.removeprefix('text_model.')}")
        if values.ndim == 1 or "position" in name:
            np.testing.assert_array_equal(values, state[name].numpy())
        state[name] = torch.from_numpy(values).float()
    model = CLIPTextModel(CLIPTextConfig(**SHAPES["packed"][0])).eval()
    model.load_state_dict(state)
    return model


def test_tokens_behind_the_end_are_not_run(encode):
    short, long = (encode("odd", ids_of(1, end, eos=69)) for end in (9, 18))
    assert short[1] < 0.6 * long[1]


def test_layer_by_layer_it_is_the_same_in_less_memory(encode):
    ids = ids_of(8)
    (kept, _, whole), (streamed, _, less) = (encode("packed", ids, budget=budget)
                                             for budget in (2**30, 0))
    np.testing.assert_array_equal(streamed, kept)
    assert less < whole


@pytest.mark.parametrize("budget", [0, 2**30])
def test_a_rehearsal_tells_the_memory_and_the_kernels(encoding, dist, encode, budget):
    """Those of the longest text, as it is counted, and about as the exporter reckons; and the
    kernels of a short one."""
    ids = ids_of(9, end=LENGTH - 1)
    rehearsed = encoding.rehearse("packed", text_of(ids), budget)
    assert set(rehearsed["asked"]) == {"linear_packed", "linear_packed few", "attention"}
    _, _, peak = encode("packed", ids, budget=budget)
    assert peak == rehearsed["peakBytes"]
    manifest = json.loads((dist / "packed" / "manifest.json").read_text(encoding="utf-8"))
    component = manifest["components"]["text_encoder"]
    config = clip.ClipConfig(**component["config"])
    layers = 1 if budget else clip.streamed_layers(config)
    reckoned = (SIZES_BYTES + component["gpu_bytes"] // layers
                + clip.activation_bytes(config, Picture(0, 0, 0, 0, 512)))
    assert 0.9 < reckoned / peak < 1.15
