"""Gemma 2 as a text encoder: its configuration, its tensors, and the norms' 1 + w."""

import math

import numpy as np
import pytest

from export import layouts
from export.errors import ExportError
from export.families.family import ENCODER, Part
from export.packing.memory import Picture
from export.source.configuration import Configuration
from export.text_encoders import gemma2
from tests.export.packed import PackedSite
from tests.export.tiny import as_float, bf16, edit, pack_bits, save, write_json
from tests.one_part import write_part

GEMMA_2_2B = {  # config.json as it is published
    "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "attention_bias": False,
    "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "bos_token_id": 2,
    "cache_implementation": "hybrid", "eos_token_id": [1, 107], "final_logit_softcapping": 30.0,
    "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2304, "initializer_range": 0.02, "intermediate_size": 9216,
    "max_position_embeddings": 8192, "num_attention_heads": 8, "num_hidden_layers": 26,
    "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096,
    "torch_dtype": "bfloat16", "transformers_version": "4.42.4", "use_cache": True,
    "vocab_size": 256000,
}
TINY = GEMMA_2_2B | {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "intermediate_size": 128, "vocab_size": 24, "query_pre_attn_scalar": 20,
}
PART = Part("text_encoder", ENCODER, gemma2, lambda file, asked: gemma2.read_config(file),
            layouts.LINEAR, "text_encoder")
WEIGHTS = "text_encoder/model.safetensors"
NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
         "post_feedforward_layernorm")


def read(**values):
    return gemma2.read_config(Configuration("config.json", TINY | values))


def test_the_published_model():
    config = gemma2.read_config(Configuration("config.json", GEMMA_2_2B))
    specs = gemma2.spec(config)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == 2_614_341_888
    assert config.layer_types == (gemma2.SLIDING, gemma2.FULL) * 13
    assert config.attn_logit_softcapping == 50 and config.sliding_window == 4096
    shapes = {name.removeprefix("layers.25."): spec.shape for name, spec in specs.items()}
    assert shapes["self_attn.q_proj.weight"] == (2048, 2304)
    assert shapes["self_attn.k_proj.weight"] == (1024, 2304)
    assert shapes["mlp.down_proj.weight"] == (2304, 9216)
    added = [name for name, spec in specs.items() if spec.plus]
    assert len(added) == 4 * 26 + 1 and all("norm" in name for name in added)


def test_memory_is_of_the_ids_that_are_read():
    """An instruction's among them, whose rows do not go on."""
    config = gemma2.read_config(Configuration("config.json", GEMMA_2_2B))
    few, many = (gemma2.activation_bytes(config, Picture(512, 512, 300, 256, read))
                 for read in (300, 506))
    assert many * 300 > few * 480


def test_what_is_absent_is_what_the_class_has():
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    few = Configuration("config.json", {key: GEMMA_2_2B[key] for key in sizes})
    assert gemma2.read_config(few) == gemma2.read_config(Configuration("config.json", GEMMA_2_2B))


@pytest.mark.parametrize(("values", "field", "value"), [
    ({"attn_logit_softcapping": None}, "attn_logit_softcapping", None),
    ({"attn_logit_softcapping": 30}, "attn_logit_softcapping", 30),
    ({"query_pre_attn_scalar": 144}, "query_pre_attn_scalar", 144),
    ({"sliding_window": 7, "sliding_window_size": 7}, "sliding_window", 7),
    ({"layer_types": [gemma2.FULL] * 2}, "layer_types", (gemma2.FULL,) * 2),
    ({"rope_theta": 500}, "rope_theta", 500), ({"rms_norm_eps": 1e-5}, "rms_norm_eps", 1e-5),
    ({"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 7e3}},
     "rope_theta", 7e3),
    ({"architectures": ["Gemma2Model"]}, "head_dim", 32),
    ({"tie_word_embeddings": True, "final_logit_softcapping": None}, "head_dim", 32),
])
def test_what_is_honoured(values, field, value):
    assert read(**values).manifest() == read().manifest() | {field: value}


@pytest.mark.parametrize(("values", "says"), [
    ({"model_type": "gemma"}, "model_type is 'gemma', and this version draws only with 'gemma2'"),
    ({"architectures": ["Gemma3ForCausalLM"]}, "architectures is ['Gemma3ForCausalLM']"),
    ({"hidden_activation": "gelu"}, "hidden_activation is 'gelu'"),
    ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
    ({"attention_bias": True}, "attention_bias is True"),
    ({"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
    ({"attn_logit_softcapping": 0}, "attn_logit_softcapping is 0, expected a number above zero"),
    ({"final_logit_softcapping": "30"}, "final_logit_softcapping is '30'"),
    ({"query_pre_attn_scalar": -1}, "query_pre_attn_scalar is -1"),
    ({"sliding_window": 0}, "sliding_window is 0, expected a whole number from 1"),
    ({"sliding_window_size": 7}, "sliding_window_size is 7, and this version draws only with 4096"),
    ({"layer_types": [gemma2.FULL, "chunked_attention"]}, "'chunked_attention'], expected a list"),
    ({"layer_types": [gemma2.FULL]}, "layer_types has 1 entries, expected one for each of the 2"),
    ({"rope_parameters": {"rope_type": "linear", "factor": 8.0}}, "the rope type is 'linear'"),
    ({"rope_scaling": {"type": "dynamic"}}, "the rope type is 'dynamic'"),
    ({"head_dim": 30}, "head_dim is 30, expected a multiple of 4"),
    ({"head_dim": 516}, "head_dim is 516, expected at most 512"),
    ({"hidden_size": 66}, "hidden_size is 66, expected a multiple of 4"),
    ({"num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple of the 3 kv heads"),
    ({"rms_norm_eps": 0}, "rms_norm_eps is 0"),
    ({"hidden_size": None}, "hidden_size is missing"),
    ({"embedding_multiplier": 12}, "embedding_multiplier is 12, a key that this version does not"),
    ({"query_scale": 2}, "query_scale is 2, a key that this version does not know"),
])
def test_what_is_not_implemented_is_refused_by_name(values, says):
    with pytest.raises(ExportError) as refusal:
        read(**values)
    assert str(refusal.value).startswith("config.json: ") and says in str(refusal.value)


def tensors(seed=0, store=lambda values: ("BF16", bf16(values))):
    """name -> (dtype, array) of the tiny model; the norms' weights are about 0."""
    random = np.random.default_rng(seed)
    specs = gemma2.spec(read())
    return {name: store(random.integers(-128, 128, spec.shape) / 256)
            for name, spec in specs.items()}


def floats(tensor):
    dtype, stored = tensor
    return as_float(stored, dtype)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of the tiny model in bf16, names and head as Gemma2ForCausalLM writes them."""
    stored = {f"model.{name}": tensor for name, tensor in tensors().items()}
    save(tmp_path / WEIGHTS, stored | {"lm_head.weight": stored["model.embed_tokens.weight"]})
    write_json(tmp_path / "text_encoder" / "config.json", TINY)
    return tmp_path


def test_linears_and_embedding_in_four_bits_and_norms_with_one_added(folder, tmp_path):
    manifest = write_part(PART, folder, tmp_path / "packed")
    site, source = PackedSite(tmp_path / "packed"), tensors()
    site.check_shards()
    for name, entry in manifest["tensors"].items():
        values = floats(source[name.removeprefix("text_encoder.")])
        if len(entry["shape"]) == 1:
            assert entry["use"] == "vector"
            np.testing.assert_array_equal(site.weight(name), np.float32(1) + values)
        else:
            assert entry["storage"] == "affine4" and entry["group"] == 64
            assert np.abs(site.weight(name) - values).max() < 1 / 25
    assert manifest["tensors"]["text_encoder.embed_tokens.weight"]["use"] == "rows"
    assert {name.removeprefix("text_encoder.") for name in manifest["tensors"]} == source.keys()
    component = manifest["components"]["text_encoder"]
    assert component["class"] == "Gemma2"
    assert component["config"]["layer_types"] == (gemma2.SLIDING, gemma2.FULL)


@pytest.mark.parametrize(("dtype", "numpy"), [("F16", "<f2"), ("F32", "<f4")])
def test_names_without_a_prefix_and_other_floats(tmp_path, dtype, numpy):
    """Sums that need all bits of f32, and one that bf16 holds."""
    source = tensors(store=lambda values: (dtype, (values / 3).astype(numpy)))
    source["norm.weight"] = dtype, np.full(64, 0.5, numpy)
    save(tmp_path / WEIGHTS, source)
    write_json(tmp_path / "text_encoder" / "config.json", TINY | {"architectures": ["Gemma2Model"]})
    manifest = write_part(PART, tmp_path, tmp_path / "packed", bits=16)
    site = PackedSite(tmp_path / "packed")
    for name, (_, values) in source.items():
        want = np.float32(1) + values.astype(np.float32) if values.ndim == 1 else values
        np.testing.assert_array_equal(site.weight(f"text_encoder.{name}"), want)
    stored = manifest["tensors"]
    assert stored["text_encoder.norm.weight"]["storage"] == "bf16"
    assert stored["text_encoder.layers.0.input_layernorm.weight"]["storage"] == "f32"


def test_the_same_norms_of_an_mlx_file(tmp_path):
    """MLX keeps the norms as they are trained, so 1 is added there, too."""
    random, stored = np.random.default_rng(1), {}
    for name, (dtype, values) in tensors().items():
        if values.ndim == 1:
            stored[f"model.{name}"] = dtype, values
            continue
        base, (rows, columns) = f"model.{name.removesuffix('.weight')}", values.shape
        codes = random.integers(0, 16, (rows, columns))
        stored[f"{base}.weight"] = "U32", pack_bits(codes, 4)
        for part in ("scales", "biases"):
            stored[f"{base}.{part}"] = "BF16", bf16(random.integers(1, 9, (rows, columns // 64)))
    place = tmp_path / "text_encoder-mlx-4bit"
    save(place / "model.safetensors", stored)
    quantization = {"bits": 4, "group_size": 64}
    write_json(place / "config.json", TINY | {"quantization": quantization})
    write_part(PART, tmp_path, tmp_path / "packed")
    site = PackedSite(tmp_path / "packed")
    for name in NORMS:
        name = f"layers.1.{name}.weight"
        want = np.float32(1) + floats(stored[f"model.{name}"])
        np.testing.assert_array_equal(site.weight(f"text_encoder.{name}"), want)


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: t.pop("model.layers.1.post_feedforward_layernorm.weight"),
     "1 tensors missing: layers.1.post_feedforward_layernorm.weight"),
    (lambda t: t.update({"model.layers.0.self_attn.q_norm.weight": ("F32", np.zeros(32))}),
     "1 tensors unknown: layers.0.self_attn.q_norm.weight"),
    (lambda t: t.update({"model.layers.2.mlp.up_proj.weight": ("F32", np.zeros((128, 64)))}),
     "1 tensors unknown: layers.2.mlp.up_proj.weight"),
    (lambda t: t.update({"model.layers.0.mlp.up_proj.weight": ("F32", np.zeros((64, 128)))}),
     "layers.0.mlp.up_proj.weight is [64, 128] (transposed?), expected [128, 64]"),
    (lambda t: t.update({"model.norm.weight": ("F32", np.full(64, np.nan))}), "norm.weight"),
])
def test_tensors_that_do_not_fit_are_named(folder, tmp_path, change, says):
    edit(folder / WEIGHTS, change)
    with pytest.raises(ExportError) as refusal:
        write_part(PART, folder, tmp_path / "packed")
    assert says in str(refusal.value)
