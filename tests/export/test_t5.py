"""T5's encoder: its configuration, its tensors, and what it leaves out."""

import math

import numpy as np
import pytest

from export import layouts
from export.errors import ExportError
from export.families.family import ENCODER, Part
from export.opening import USUAL_BITS
from export.packing.memory import Picture
from export.source.configuration import Configuration
from export.text_encoders import t5
from tests.export.packed import PackedSite
from tests.export.tiny import as_float, bf16, edit, save, write_json
from tests.one_part import open_part, write_part

XXL = {  # text_encoder_2/config.json of FLUX.1 as it is published
    "architectures": ["T5EncoderModel"], "classifier_dropout": 0.0, "d_ff": 10240, "d_kv": 64,
    "d_model": 4096, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1,
    "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0,
    "is_encoder_decoder": True, "is_gated_act": True, "layer_norm_epsilon": 1e-06,
    "model_type": "t5", "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24,
    "output_past": True, "pad_token_id": 0, "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.3", "use_cache": True, "vocab_size": 32128,
}
TINY = XXL | {"d_model": 64, "d_kv": 32, "d_ff": 192, "num_heads": 4, "num_layers": 2,
              "vocab_size": 24, "relative_attention_num_buckets": 8,
              "relative_attention_max_distance": 20}
PART = Part("text_encoder_2", ENCODER, t5, lambda file, asked: t5.read_config(file),
            layouts.LINEAR, "text_encoder_2")
WEIGHTS = "text_encoder_2/model.safetensors"
Q = "encoder.block.0.layer.0.SelfAttention.q.weight"
ROWS = "encoder.embed_tokens.weight"


def read(**values):
    return t5.read_config(Configuration("config.json", TINY | values))


def test_the_published_model():
    config = t5.read_config(Configuration("config.json", XXL))
    specs = t5.spec(config)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == 4_762_310_656
    assert specs[t5.BIAS].shape == (32, 64) and not specs[t5.BIAS].is_linear
    shapes = {name.removeprefix("encoder.block.23.layer."): s.shape for name, s in specs.items()}
    assert shapes["1.DenseReluDense.wi_1.weight"] == (10240, 4096)
    assert shapes["1.DenseReluDense.wo.weight"] == (4096, 10240)
    assert shapes["0.SelfAttention.o.weight"] == (4096, 4096)


def test_its_other_copies():
    """One tells the activation by feed_forward_proj alone, one by the two keys that follow."""
    whole = t5.read_config(Configuration("config.json", XXL))
    projection = {key: value for key, value in XXL.items()
                  if key not in ("dense_act_fn", "is_gated_act")}
    function = {key: value for key, value in XXL.items()
                if key not in ("feed_forward_proj", "architectures", "classifier_dropout",
                               "relative_attention_max_distance")}
    for values in (projection, function | {"dense_act_fn": "gelu_pytorch_tanh"}):
        assert t5.read_config(Configuration("config.json", values)) == whole


@pytest.mark.parametrize(("values", "field", "value"), [
    ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon", 1e-5),
    ({"relative_attention_max_distance": 3}, "relative_attention_max_distance", 3),
    ({"relative_attention_num_buckets": 9}, "relative_attention_num_buckets", 9),
    ({"relative_attention_num_buckets": None}, "relative_attention_num_buckets", 32),
    ({"d_kv": None}, "d_kv", 64), ({"num_heads": None}, "num_heads", 8),
    ({"architectures": ["T5ForConditionalGeneration"]}, "d_kv", 32),
])
def test_what_is_honoured(values, field, value):
    assert read(**values).manifest() == read().manifest() | {field: value}


@pytest.mark.parametrize(("values", "says"), [
    ({"model_type": "mt5"}, "model_type is 'mt5', and this version draws only with 't5'"),
    ({"architectures": ["UMT5EncoderModel"]}, "architectures is ['UMT5EncoderModel']"),
    ({"is_decoder": True}, "is_decoder is True"),
    ({"feed_forward_proj": "relu", "dense_act_fn": None, "is_gated_act": None},
     "feed_forward_proj is 'relu' and dense_act_fn 'relu'"),
    ({"feed_forward_proj": None, "dense_act_fn": None, "is_gated_act": None},
     "feed_forward_proj is 'relu'"),
    ({"feed_forward_proj": "gated-silu", "dense_act_fn": None}, "dense_act_fn 'silu'"),
    ({"dense_act_fn": "gelu"}, "feed_forward_proj is 'gated-gelu' and dense_act_fn 'gelu', and "
                               "this version draws only with a gated gelu_new or"),
    ({"is_gated_act": False}, "draws only with a gated"),
    ({"relative_attention_num_buckets": 3}, "relative_attention_num_buckets is 3"),
    ({"relative_attention_max_distance": 2},
     "relative_attention_max_distance is 2, expected more than 2, a quarter of the 8 buckets"),
    ({"d_kv": 30}, "d_kv is 30, expected a multiple of 4"),
    ({"d_kv": 516}, "d_kv is 516, expected at most 512"),
    ({"d_ff": 66}, "d_ff is 66, expected a multiple of 4"),
    ({"layer_norm_epsilon": 0}, "layer_norm_epsilon is 0"),
    ({"num_layers": 2.5}, "num_layers is 2.5"),
    ({"attention_scale": 2}, "attention_scale is 2, a key that this version does not know"),
])
def test_what_is_not_implemented_is_refused_by_name(values, says):
    with pytest.raises(ExportError) as refusal:
        read(**values)
    assert str(refusal.value).startswith("config.json: ") and says in str(refusal.value)


def test_memory_is_of_the_ids_that_are_read():
    """XXL with 512 ids: six times 8 MB and the MLP's middle of 20 MB, in two chunks."""
    config = t5.read_config(Configuration("config.json", XXL))
    took = t5.activation_bytes(config, Picture(512, 512, 512, 1024, 512))
    assert took == 4 * (512 * 4096 * 6 + 512 * 10240 + 64 * 1023)
    assert t5.streamed_layers(config) == 24


def tensors():
    """name -> (dtype, array) of the tiny model."""
    random = np.random.default_rng(0)
    return {name: ("BF16", bf16(random.integers(-128, 128, spec.shape) / 256))
            for name, spec in t5.spec(read()).items()}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of the tiny model in bf16, with what the whole T5 has besides."""
    stored = tensors()
    beside = {"lm_head.weight": ROWS, "decoder.embed_tokens.weight": ROWS,
              "decoder.block.0.layer.1.EncDecAttention.q.weight": Q}
    stored |= {name: stored[same] for name, same in beside.items()}
    stored["shared.weight"] = stored.pop(ROWS)
    save(tmp_path / WEIGHTS, stored)
    write_json(tmp_path / "text_encoder_2" / "config.json", TINY)
    return tmp_path


def test_linears_and_embedding_in_four_bits_the_rest_exactly(folder, tmp_path):
    manifest = write_part(PART, folder, tmp_path / "packed")
    site, source = PackedSite(tmp_path / "packed"), tensors()
    site.check_shards()
    for name, entry in manifest["tensors"].items():
        dtype, stored = source[name.removeprefix("text_encoder_2.")]
        values = as_float(stored, dtype)
        if len(entry["shape"]) == 1 or name.endswith(t5.BIAS):
            assert entry["use"] == "vector" and entry["storage"] == "bf16"
            np.testing.assert_array_equal(site.weight(name), values)
        else:
            assert entry["storage"] == f"affine{USUAL_BITS}" and entry["group"] == 64
            assert np.abs(site.weight(name) - values).max() < 1 / 25
    assert manifest["tensors"]["text_encoder_2." + ROWS]["use"] == "rows"
    assert {name.removeprefix("text_encoder_2.") for name in manifest["tensors"]} == source.keys()
    assert manifest["components"]["text_encoder_2"]["class"] == "T5EncoderModel"
    dropped = open_part(PART, folder).dropped
    assert {why: len(sizes) for why, sizes in dropped.items()} == {
        "the decoder has no part in encoding": 2,
        "the language-model head has no part in encoding": 1}


def test_the_encoder_s_own_table_where_there_are_two(folder, tmp_path):
    """As transformers, which ties them only where they are the same."""
    own = np.full((24, 64), 0.5, "<f2")
    edit(folder / WEIGHTS, lambda stored: stored.update({ROWS: ("F16", own)}))
    write_part(PART, folder, tmp_path / "packed", bits=16)
    np.testing.assert_array_equal(
        PackedSite(tmp_path / "packed").weight(f"text_encoder_2.{ROWS}"), own)
    assert "the decoder reads it, the encoder its own" in open_part(PART, folder).dropped


def test_names_behind_a_prefix(folder, tmp_path):
    edit(folder / WEIGHTS, lambda stored: [
        stored.update({f"text_encoders.t5xxl.transformer.{name}": stored.pop(name)})
        for name in list(stored)])
    names = write_part(PART, folder, tmp_path / "packed")["tensors"]
    assert {name.removeprefix("text_encoder_2.") for name in names} == tensors().keys()


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: t.pop(t5.BIAS), f"1 tensors missing: {t5.BIAS}"),
    (lambda t: t.update({t5.BIAS: ("F32", np.zeros((4, 8), "<f4"))}),
     "relative_attention_bias.weight is [4, 8] (transposed?), expected [8, 4]"),
    (lambda t: t.update({"encoder.block.2.layer.0.layer_norm.weight": ("F32", np.zeros(64))}),
     "1 tensors unknown: encoder.block.2.layer.0.layer_norm.weight"),
    (lambda t: t.update({"encoder.block.0.layer.1.DenseReluDense.wi.weight":
                         ("F32", np.zeros((192, 64)))}),
     "1 tensors unknown: encoder.block.0.layer.1.DenseReluDense.wi.weight"),
    (lambda t: t.update({"encoder.final_layer_norm.weight": ("F32", np.full(64, np.nan))}),
     "encoder.final_layer_norm.weight"),
])
def test_tensors_that_do_not_fit_are_named(folder, tmp_path, change, says):
    edit(folder / WEIGHTS, change)
    with pytest.raises(ExportError) as refusal:
        write_part(PART, folder, tmp_path / "packed")
    assert says in str(refusal.value)
