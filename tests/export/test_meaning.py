"""Keys that change what the weights or the settings mean: honoured, or refused by name.

Beside each refusal stands what ordinary published files hold, which must change nothing.
"""

import json
import struct

import pytest

from export.errors import ExportError
from export.finding import find_model
from export.opening import open_model
from export.packing.manifest import build_manifest, write_manifest
from export.source.gguf import Gguf
from export.source.safetensors import read_header
from tests.export.tiny import AUTOENCODER, TRANSFORMER, Tiny, write_json

DIT, TEXT = "transformer-packed-mflux/config.json", "text_encoder-mlx-4bit/config.json"
QUANT = "transformer-packed-mflux/quantization_config.json"
VAE, INDEX, CALL = "vae/config.json", "model_index.json", "trefoil.json"
SCHEDULER = "scheduler/scheduler_config.json"
QUANTIZATION = {"bits": 4, "group_size": 64}
NOISE = "the picture would be noise"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = Tiny().write(tmp_path_factory.mktemp("meaning") / "tiny", "mlx")
    write_json(folder / SCHEDULER, {"_class_name": "FlowMatchEulerDiscreteScheduler",
                                    "shift": 3.0, "use_dynamic_shifting": True})
    return folder


def opened(folder):
    """The manifest of a checkpoint, without its shards, as the page would parse it."""
    model = open_model(find_model(str(folder)))
    path = folder.parent / "manifest.json"
    write_manifest(path, build_manifest(model, [], {}, None))
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def plain(tiny):
    return opened(tiny)


@pytest.fixture
def given(tiny):
    """given(file, {key: value}): the manifest with keys of one file changed; then as it was."""
    before = {}

    def change(file, values):
        path = tiny / file
        before.setdefault(path, path.read_text() if path.exists() else None)
        known = json.loads(before[path] or "{}")
        write_json(path, known | values)
        return opened(tiny)

    yield change
    for path, text in before.items():
        path.unlink() if text is None else path.write_text(text)


ROTATED = [  # file, keys: the weights are not those that the tensors hold
    (QUANT, {"hadamard_size": 1024}), (QUANT, {"rotation": "quarot"}), (QUANT, {"rotated": True}),
    (QUANT, {"R1": {"method": "spinquant"}}), (QUANT, {"format": "ternary-hadamard-g128"}),
    (QUANT, {"solver": "rotated_ternary"}), (QUANT, {"smooth_scale": 0.5}),
    (QUANT, {"permutation": [1, 0]}), (QUANT, {"sign_flip": True}),
    (DIT, {"model_type": "prism_hadamard_flux2"}), (DIT, {"rotation_block": 64}),
    (DIT, {"_hadamard": True}), (DIT, {"weightRotation": "R1"}),
    (DIT, {"architectures": ["HadamardFlux2"]}), (DIT, {"quantization": {"hadamard_size": 64}}),
    (DIT, {"quantization_config": {"quant_method": "quark", "algo": {"rotation": {"size": 8}}}}),
    (TEXT, {"quantization": QUANTIZATION | {"hadamard": True}}),
    (TEXT, {"quantization": QUANTIZATION | {"model.norm": {"bits": 4, "rotation": 1}}}),
    (VAE, {"rotation": "hadamard"}), (INDEX, {"rotation": "hadamard"}),
]


@pytest.mark.parametrize(("file", "values"), ROTATED)
def test_transformed_weights_are_refused(given, file, values):
    with pytest.raises(ExportError, match=NOISE) as refusal:
        given(file, values)
    assert file in str(refusal.value) and next(iter(values)) in str(refusal.value)


REFUSED = [  # file, keys, what the refusal says
    (DIT, {"attention_scale": 2.0}, "attention_scale is 2.0, a key that this version does not"),
    (DIT, {"patch_size": 2}, "patch_size is 2, and this version draws only with 1"),
    (DIT, {"axes_dims_rope": [8, 12, 12]}, "4 even numbers"),
    (DIT, {"rope_theta": 0}, "rope_theta is 0, expected a number above zero"),
    (DIT, {"mlp_ratio": 1e9}, "mlp_ratio is 1000000000.0, expected"),
    (DIT, {"in_chanels": 16}, "write in_channels if that is meant"),
    (QUANT, {"codebook": [1]}, "codebook is [1], a key that this version does not know"),
    (QUANT, {"outlier_rows": 3}, "outlier_rows is 3, a key"),
    (TEXT, {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope type is 'yarn'"),
    (TEXT, {"rope_scaling": {"type": "linear", "factor": 2}}, "rope type is 'linear'"),
    (TEXT, {"rope_parameters": {"rope_type": "default", "factor": 2}}, "holds factor 2"),
    (TEXT, {"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "dynamic"}},
     "rope_scaling: the rope type is 'dynamic'"),
    (TEXT, {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    (TEXT, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
    (TEXT, {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    (TEXT, {"attention_bias": True}, "attention_bias is True"),
    (TEXT, {"use_sliding_window": True}, "use_sliding_window is True"),
    (TEXT, {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
     "layer_types is ["),
    (TEXT, {"logit_softcapping": 30.0}, "logit_softcapping is 30.0, a key"),
    (TEXT, {"embedding_multiplier": 12}, "embedding_multiplier is 12, a key"),
    (TEXT, {"quantization": QUANTIZATION | {"mode": "mxfp4"}}, "quantization.mode is 'mxfp4'"),
    (QUANT, {"mode": "nvfp4"}, "mode is 'nvfp4', expected 'affine'"),
    (TEXT, {"quantization": QUANTIZATION | {"mixed": 1}}, "quantization.mixed is 1, a key"),
    (VAE, {"scaling_factor": 0.18215}, "scaling_factor is 0.18215"),
    (VAE, {"shift_factor": 0.1}, "shift_factor is 0.1"),
    (VAE, {"latents_mean": [0.1] * 4}, "latents_mean is [0.1, 0.1, 0.1, 0.1], a key"),
    (VAE, {"act_fn": "relu"}, "act_fn is 'relu'"),
    (VAE, {"batch_norm_eps": -1}, "batch_norm_eps is -1"),
    (VAE, {"mid_block_add_attention": 1}, "mid_block_add_attention is 1, expected true or"),
    (SCHEDULER, {"num_train_timesteps": 500}, "num_train_timesteps is 500"),
    (SCHEDULER, {"shift_terminal": 0.02}, "shift_terminal is 0.02"),
    (SCHEDULER, {"invert_sigmas": True}, "invert_sigmas is True"),
    (SCHEDULER, {"use_karras_sigmas": True}, "use_karras_sigmas is True"),
    (SCHEDULER, {"use_exponential_sigmas": True}, "use_exponential_sigmas is True"),
    (SCHEDULER, {"use_beta_sigmas": True}, "use_beta_sigmas is True"),
    (SCHEDULER, {"stochastic_sampling": True}, "stochastic_sampling is True"),
    (SCHEDULER, {"time_shift_type": "linear"}, "time_shift_type is 'linear'"),
    (SCHEDULER, {"shift": -3}, "shift is -3"), (SCHEDULER, {"solver_order": 2}, "solver_order is"),
    (INDEX, {"is_distilled": False}, "is_distilled is false, so diffusers draws with"),
    (INDEX, {"is_distilled": None}, "guidance of 4.0, which this version does not"),
    (INDEX, {"is_distilled": "yes"}, "is_distilled is 'yes', expected true or false"),
    (INDEX, {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}, "scheduler is ['diffusers'"),
    (INDEX, {"controlnet": ["diffusers", "FluxControlNetModel"]}, "controlnet is ["),
    (CALL, {"num_steps": 8}, "num_steps is 8, a key that this version does not know; write "
     "num_inference_steps"),
    (CALL, {"steps": 8}, "write num_inference_steps if that is meant"),
    (CALL, {"guidance": 1}, "write guidance_scale if that is meant"),
    (CALL, {"zzz": 1}, "zzz is 1, a key that this version does not know"),
    (CALL, {"guidance_scale": 4}, "guidance_scale is 4, and this version draws without guidance"),
    (CALL, {"guidance_scale": -1}, "guidance_scale is -1, expected a number from 0 on"),
    (CALL, {"negative_prompt": "blurry"}, "negative_prompt is 'blurry', and this family takes"),
    (CALL, {"complex_human_instruction": ["Given a"]}, "complex_human_instruction is ["),
    (CALL, {"intermediate_timesteps": 1.3}, "intermediate_timesteps is 1.3"),
]


@pytest.mark.parametrize(("file", "values", "says"), REFUSED)
def test_what_is_not_implemented_is_refused_by_name(given, file, values, says):
    with pytest.raises(ExportError) as refusal:
        given(file, values)
    assert says in str(refusal.value) and file in str(refusal.value)


HARMLESS = [  # as published files have it
    (DIT, {"guidance_embeds": True, "_name_or_path": "x/hadamard", "torch_dtype": "bfloat16",
           "enable_time_sign_embed": True, "musubi_blocks_to_swap": 3, "hadamard_size": 0,
           "rotation": None, "smooth": False, "model_type": "flux2", "new_switch": False}),
    (QUANT, {"format": "gemlite-int2-ternary-g128", "solver": "ternary", "rotation": "none",
             "skip_patterns": ["proj_out"], "quantized_fqns": ["a.b"], "pack_seconds": 150.48,
             "quantized_count": 100, "packing_bitwidth": 8, "mode": "affine"}),
    (TEXT, {"rope_scaling": None, "max_window_layers": 36, "sliding_window": 4096,
            "use_cache": True, "tie_word_embeddings": True, "initializer_range": 0.02,
            "bos_token_id": 1, "eos_token_id": [2, 3], "max_position_embeddings": 40960,
            "attention_dropout": 0.1, "transformers_version": "5.1.0", "dtype": "bfloat16",
            "layer_types": ["full_attention"] * 3, "unsloth_fixed": True, "hidden_act": "swish",
            "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}),
    (TEXT, {"quantization_config": QUANTIZATION | {"mode": "affine", "lm_head": False,
                                                   "model.norm": {"bits": 4}}}),
    (VAE, {"force_upcast": True, "sample_size": 1024, "batch_norm_momentum": 0.1,
           "use_quant_conv": True, "in_channels": 3, "scaling_factor": 1.0, "shift_factor": 0,
           "down_block_types": ["DownEncoderBlock2D"] * 2, "latents_mean": None}),
    (SCHEDULER, {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256,
                 "max_image_seq_len": 4096, "num_train_timesteps": 1000, "shift_terminal": None,
                 "time_shift_type": "exponential", "invert_sigmas": False,
                 "_diffusers_version": "0.37.0"}),
    (INDEX, {"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
             "safety_checker": [None, None], "_name_or_path": "x/y",
             "transformer": ["mflux", "Flux2"], "feature_extractor": [None, None]}),
    (CALL, {"guidance_scale": 1.0, "negative_prompt": None, "complex_human_instruction": None,
            "intermediate_timesteps": None, "swapped_norm_out": True}),
    (CALL, {"guidance_scale": 0, "negative_prompt": ""}),
]


@pytest.mark.parametrize(("file", "values"), HARMLESS)
def test_what_published_files_hold_changes_nothing(given, plain, file, values):
    assert given(file, values) == plain


def test_a_model_that_is_meant_to_draw_without_guidance(given, plain):
    with pytest.raises(ExportError, match='write "guidance_scale": 1 into trefoil.json'):
        given(INDEX, {"is_distilled": False})
    assert given(CALL, {"guidance_scale": 1}) == plain


def test_what_is_honoured_reaches_the_page(given):
    got = given(TEXT, {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}})
    assert got["components"]["text_encoder"]["config"]["rope_theta"] == 5e5
    got = given(SCHEDULER, {"use_dynamic_shifting": False, "shift": 2.5})
    assert got["sampler"]["shift"] == "static" and got["sampler"]["config"]["shift"] == 2.5


def test_every_key_of_the_reference_s_own_classes_is_known(given, plain):
    """Their defaults, but what Tiny sets otherwise; read from the classes, so new ones show."""
    for name, file, own in (("Flux2Transformer2DModel", DIT, TRANSFORMER),
                            ("AutoencoderKLFlux2", VAE, AUTOENCODER)):
        blocks = ({"up_block_types": ["UpDecoderBlock2D"] * 2,
                   "down_block_types": ["DownEncoderBlock2D"] * 2} if file == VAE else {})
        assert given(file, defaults(f"models/{MODULES[name]}.py", name) | own | blocks) == plain
    keys = defaults("schedulers/scheduling_flow_match_euler_discrete.py",
                    "FlowMatchEulerDiscreteScheduler")
    assert given(SCHEDULER, keys | {"shift": 3.0, "use_dynamic_shifting": True}) == plain


MODULES = {"Flux2Transformer2DModel": "transformers/transformer_flux2",
           "AutoencoderKLFlux2": "autoencoders/autoencoder_kl_flux2"}


def defaults(module, name):
    """Names and defaults of a diffusers class's arguments, without importing torch."""
    import ast
    import importlib.util
    from pathlib import Path

    root = Path(importlib.util.find_spec("diffusers").origin).parent
    tree = ast.parse((root / module).read_text())
    made = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    init = next(node for node in made.body if getattr(node, "name", None) == "__init__").args
    values = [ast.literal_eval(value) for value in init.defaults]
    return dict(zip([a.arg for a in init.args][-len(values):], values, strict=True))


def safetensors(path, metadata):
    text = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(("metadata", "name"), [
    ({"format": "pt", "hadamard_size": "1024"}, "hadamard_size"),
    ({"rotation": "R1"}, "rotation"), ({"quantization": "quarot"}, "quantization"),
    ({"weights": "rotated"}, "weights"), ({"weightRotation": "yes"}, "weightRotation"),
    ({"info": "packed after a Hadamard transform"}, "info"), ({"smoothquant.alpha": "0.5"},
     "smoothquant.alpha"), ({"row_permutation": "0,2,1"}, "row_permutation"),
    ({"signs": "random"}, "signs"), ({"basis": "orthogonal"}, "basis"),
    ({"config": '{"bits": 2, "hadamard": {"size": 64}}'}, "config.hadamard"),
    ({"quant": {"fwht": True}}, "quant.fwht"),
])
def test_safetensors_metadata_that_tells_of_transformed_weights(tmp_path, metadata, name):
    safetensors(tmp_path / "x.safetensors", metadata)
    with pytest.raises(ExportError, match=NOISE) as refusal:
        read_header(tmp_path / "x.safetensors")
    assert f"x.safetensors: {name} is " in str(refusal.value)


@pytest.mark.parametrize("metadata", [
    {}, None, [], "text", {"format": "pt"}, {"format": "mlx", "bits": 2, "x": [1, {"y": 2}]},
    {"modelspec.description": "smooth, rotated by Hadamard", "ss_network_args": '{"rotate": 1}'},
    {"prompt": '{"1": {"class_type": "KSampler"}}', "title": "Hadamard"}, {"total_size": "123"},
    {"design": "signature, assigned, rotary", "rotary_emb": "1", "tags": "smooth"},
    {"hadamard": "false", "rotation": "none", "hadamard_size": "0", "rotated": None},
    {"base_model": "org/smooth-rotated", "config": "{broken", "hash_sha256": "0xabc"},
])
def test_safetensors_metadata_of_others(tmp_path, metadata):
    safetensors(tmp_path / "x.safetensors", metadata)
    assert read_header(tmp_path / "x.safetensors") == {}


UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def gguf(path, pairs):
    """A GGUF file without tensors; pairs: key -> (type, value)."""
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, (kind, value) in pairs.items():
        data += text(key) + struct.pack("<I", kind)
        forms = {UINT32: "<I", FLOAT32: "<f", BOOL: "<?"}
        if kind == ARRAY:
            data += struct.pack("<IQ", UINT32, len(value)) + struct.pack(f"<{len(value)}I", *value)
        else:
            data += text(value) if kind == STRING else struct.pack(forms[kind], value)
    path.write_bytes(data + bytes(64))


@pytest.mark.parametrize(("pairs", "name"), [
    ({"prism.hadamard.size": (UINT32, 1024)}, "prism.hadamard.size is 1024"),
    ({"prism.hadamard.enabled": (BOOL, True)}, "prism.hadamard.enabled is True"),
    ({"flux2.weight_rotation": (STRING, "quarot")}, "flux2.weight_rotation is 'quarot'"),
    ({"general.architecture": (STRING, "prism_hadamard_flux2")}, "general.architecture is"),
    ({"quant.scheme": (STRING, "rotated-ternary")}, "quant.scheme is"),
    ({"prism.permutation": (ARRAY, [1, 0])}, "prism.permutation is"),
    ({"prism.smooth.alpha": (FLOAT32, 0.5)}, "prism.smooth.alpha is 0.5"),
])
def test_gguf_pairs_that_tell_of_transformed_weights(tmp_path, pairs, name):
    gguf(tmp_path / "x.gguf", pairs)
    with pytest.raises(ExportError, match=NOISE) as refusal:
        Gguf(tmp_path / "x.gguf")
    assert f"x.gguf: {name}" in str(refusal.value)


@pytest.mark.parametrize("pairs", [
    {"general.architecture": (STRING, "flux2"), "general.name": (STRING, "Hadamard rotated"),
     "general.file_type": (UINT32, 41), "general.quantization_version": (UINT32, 2)},
    {"tokenizer.ggml.tokens": (ARRAY, [1]), "flux2.rope.dimension_count": (UINT32, 128),
     "quantize.imatrix.file": (STRING, "smooth.dat"), "flux2.rotary": (UINT32, 1)},
    {"prism.hadamard.size": (UINT32, 0), "prism.hadamard.enabled": (BOOL, False)},
    {"prism.hadamard.size": (UINT32, 1024), "prism.hadamard.enabled": (BOOL, False)},
])
def test_gguf_pairs_of_others(tmp_path, pairs):
    gguf(tmp_path / "x.gguf", pairs)
    assert Gguf(tmp_path / "x.gguf").entries == {}
