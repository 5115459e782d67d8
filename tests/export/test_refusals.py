"""What build.py turns down: one line that names the thing, status 1, and no site.

Every change below is made to a checkpoint that the first test builds, so that each refusal is for
the change and nothing else.
"""

import json
import shutil

import numpy as np
import pytest

from tests.export.tiny import CALL, TEXT_ENCODER, TRANSFORMER, Tiny, edit, load, write_json

PACKED = "transformer-packed-mflux"
DIT = f"{PACKED}/diffusion_pytorch_model.safetensors"
PLAIN = "transformer/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder-mlx-4bit/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TO_Q = "transformer_blocks.0.attn.to_q"


def tensors(file, change):
    """A change to one safetensors file of the checkpoint."""
    return lambda folder: edit(folder / file, change)


def drop(file, name):
    return tensors(file, lambda t: t.pop(name))


def add(file, name):
    return tensors(file, lambda t: t.update({name: ("F32", np.zeros(3))}))


def transpose(file, name):
    return tensors(file, lambda t: t.update({name: (t[name][0], t[name][1].T)}))


def retype(file, name, dtype):
    return tensors(file, lambda t: t.update({name: (dtype, t[name][1])}))


def poke(file, name, index, value):
    """Overwrites one stored element."""

    def change(t):
        array = t[name][1].copy()
        array[index] = value
        t[name] = (t[name][0], array)

    return tensors(file, change)


def config(file, **values):
    """Changes keys of a JSON file; None takes a key away."""

    def change(folder):
        path = folder / file
        known = json.loads(path.read_text()) if path.exists() else {}
        changed = {key: value for key, value in (known | values).items() if value is not None}
        write_json(path, changed)

    return change


def remove(path):
    def change(folder):
        target = folder / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return change


def cut(file):
    def change(folder):
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: len(data) // 2])

    return change


def text(file, content):
    return lambda folder: (folder / file).write_text(content)


def test_the_unchanged_checkpoints_build(build, tmp_path):
    for layout in ("mlx", "unpacked"):
        folder = Tiny().write(tmp_path / layout, layout)
        result = build("--model", folder, "--out", tmp_path / "site")
        assert result.status == 0, result.stderr


REFUSALS = {
    # tensors
    "missing": (drop(DIT, f"{TO_Q}.scales"), f"1 tensors missing: {TO_Q}.scales"),
    "missing first weight": (drop(DIT, f"{TO_Q}.weight"), f"missing: {TO_Q}.weight"),
    "missing dense": (drop(DIT, "proj_out.weight"), "missing: proj_out.weight"),
    "missing norm": (drop(TEXT, "model.layers.1.input_layernorm.weight"),
                     "missing: layers.1.input_layernorm.weight"),
    "missing decoder": (drop(VAE, "decoder.conv_out.bias"), "missing: decoder.conv_out.bias"),
    "missing batch norm": (drop(VAE, "bn.running_var"), "missing: bn.running_var"),
    "unknown": (add(DIT, "proj_out.bias"), "1 tensors unknown: proj_out.bias"),
    "unknown layer": (add(TEXT, "model.layers.7.input_layernorm.weight"), "unknown: layers.7"),
    "unknown part": (add(TEXT, "model.layers.2.self_attn.q_proj.bias"),
                     "unknown: layers.2.self_attn.q_proj.bias"),
    "unknown decoder": (add(VAE, "decoder.extra.weight"), "unknown: decoder.extra.weight"),
    "transposed": (transpose(DIT, "x_embedder.weight"),
                   "x_embedder.weight is [16, 128] (transposed?), expected [128, 16]"),
    "transposed codes": (transpose(DIT, "transformer_blocks.0.ff.linear_in.weight"),
                         "ff.linear_in.weight is [8, 512] (transposed?), expected [512, 8]"),
    "transposed first codes": (transpose(DIT, f"{TO_Q}.weight"),
                               f"{TO_Q}.weight is U32 [8, 128], expected U32 [128,"),
    "misshapen": (tensors(VAE, lambda t: t.update({"bn.running_mean": ("F32", np.zeros(15))})),
                  "bn.running_mean is [15], expected [16] by its config.json"),
    "wrong dtype": (retype(DIT, "proj_out.weight", "I64"),
                    "proj_out.weight has dtype I64, expected F32 or F16 or BF16"),
    "two scale dtypes": (retype(DIT, f"{TO_Q}.biases", "F16"), f"{TO_Q}.biases has dtype F16"),
    "truncated": (cut(VAE), "truncated"),
    "code 3": (poke(DIT, f"{TO_Q}.weight", (5, 1), 0x3 << 8),
               f"{TO_Q}.weight holds code 3 at row 5, column 20, expected 0, 1 or 2"),
    "infinite scale": (poke(DIT, f"{TO_Q}.scales", (3, 0), 0x7F80), f"{TO_Q}.scales holds a value"),
    "NaN scale": (poke(TEXT, "model.embed_tokens.scales", (3, 0), 0x7FC1),
                  "embed_tokens.scales holds a value that is infinite or not a number"),
    "NaN dense": (poke(VAE, "decoder.conv_in.bias", 1, 0xFFC1), "decoder.conv_in.bias holds"),
    # quantisation
    "group of 64": (config(f"{PACKED}/quantization_config.json", group_size=64),
                    "the group size is 64, expected 128"),
    "group by shape": (tensors(DIT, lambda t: t.update({f"{TO_Q}.{part}": (
        "BF16", np.zeros((128, 2))) for part in ("scales", "biases")})),
        "give a group size of 64, expected 128"),
    "bits disagree": (config(f"{PACKED}/quantization_config.json", bits=1),
                      "holds 2 bits a weight and quantization_config.json says 1"),
    "four bits": (tensors(DIT, lambda t: t.update({f"{TO_Q}.weight": (
        "U32", np.zeros((128, 16)))})), "holds 4 bits a weight and"),
    "text in 3 bits": (config("text_encoder-mlx-4bit/config.json", quantization={"bits": 3}),
                       "embed_tokens.weight holds 4 bits, config.json says 3"),
    "text group": (config("text_encoder-mlx-4bit/config.json",
                          quantization={"bits": 4, "group_size": 48}), "group size is 48"),
    # files
    "no index": (remove("model_index.json"), "model_index.json: no such file"),
    "bad JSON": (text("model_index.json", "{"), "model_index.json: not valid JSON"),
    "JSON list": (text("vae/config.json", "[]"), "got a JSON list, expected an object"),
    "another class": (config("model_index.json", _class_name="StableDiffusionPipeline"),
                      "the pipeline is 'StableDiffusionPipeline', this version converts"),
    "class of a wrong type": (config("model_index.json", _class_name=["a"]), "the pipeline is"),
    "no class": (config("model_index.json", _class_name=None), "_class_name is missing"),
    "no transformer": (remove(PACKED), "no transformer, expected the folder transformer-packed"),
    "no text encoder": (remove("text_encoder-mlx-4bit"), "no text encoder, expected the folder"),
    "no autoencoder": (remove("vae"), "vae/config.json: no such file"),
    "no weights": (remove(VAE), "no .safetensors file"),
    "no tokenizer": (remove("tokenizer"), "the model needs a fast tokenizer"),
    "no chat template": (config("tokenizer/tokenizer_config.json", chat_template=None),
                         "no chat template"),
    "no pad token": (config("tokenizer/tokenizer_config.json", pad_token=None,
                            tokenizer_class="PreTrainedTokenizerFast"), "pad_token is None"),
    "token beyond vocabulary": (config("text_encoder-mlx-4bit/config.json", vocab_size=28),
                                "the largest token id is 28, expected less than the text encoder's "
                                "vocab_size 28"),
    # configurations
    "transformer class": (config(f"{PACKED}/config.json", _class_name="FluxTransformer2DModel"),
                          "_class_name is 'FluxTransformer2DModel', and this version draws only"),
    "rope axes": (config(f"{PACKED}/config.json", axes_dims_rope=[4, 12, 12, 8]),
                  "axes_dims_rope [4, 12, 12, 8] sums to 36, expected attention_head_dim 32"),
    "odd axes": (config(f"{PACKED}/config.json", axes_dims_rope=[3, 13, 12, 4]), "4 even numbers"),
    "three axes": (config(f"{PACKED}/config.json", axes_dims_rope=[8, 12, 12]), "4 even numbers"),
    "heads as text": (config(f"{PACKED}/config.json", num_attention_heads="4"),
                      "num_attention_heads is '4', expected a whole number"),
    "no blocks": (config(f"{PACKED}/config.json", num_layers=0, num_single_layers=0),
                  "both 0"),
    "a million layers": (config(f"{PACKED}/config.json", num_layers=10**6),
                         "num_layers is 1000000, expected"),
    "ragged width": (config(f"{PACKED}/config.json", num_attention_heads=3),
                     "the width is 96, expected a multiple of 128"),
    "ragged MLP": (config(f"{PACKED}/config.json", mlp_ratio=2.5),
                   "the MLP width is 320, expected a multiple of 128"),
    "text width": (config(f"{PACKED}/config.json", joint_attention_dim=192),
                   "joint_attention_dim is 192, expected 2 text encoder layers [1, 2] x "
                   "hidden_size 64 = 128"),
    "latent channels": (config("vae/config.json", latent_channels=8),
                        "in_channels is 16, expected 4 x the autoencoder's latent_channels 8 = 32"),
    "input channels": (config(f"{PACKED}/config.json", in_channels=32),
                       "in_channels is 32, expected 4 x the autoencoder's latent_channels 4 = 16"),
    "output channels": (config(f"{PACKED}/config.json", out_channels=8),
                        "out_channels is 8, expected in_channels 16"),
    "norm groups": (config("vae/config.json", norm_num_groups=5),
                    "of the decoder has 8 channels, expected a multiple of norm_num_groups 5"),
    "decoder stages": (config("vae/config.json", decoder_block_out_channels=[8, 8, 8]),
                       "decoder_block_out_channels has 3 stages, block_out_channels 2"),
    "patch": (config("vae/config.json", patch_size=[1, 1]), "patch_size is [1, 1]"),
    "grey": (config("vae/config.json", out_channels=1), "out_channels is 1, expected 3"),
    "query heads": (config("text_encoder-mlx-4bit/config.json", num_key_value_heads=3),
                    "num_attention_heads 4 is not a multiple of the 3 kv heads"),
    "another encoder": (config("text_encoder-mlx-4bit/config.json", model_type="llama"),
                        "model_type is 'llama'"),
    "yarn": (config("text_encoder-mlx-4bit/config.json", rope_scaling={"rope_type": "yarn"}),
             "the rope type is 'yarn'"),
    "attention bias": (config("text_encoder-mlx-4bit/config.json", attention_bias=True),
                       "attention_bias is True"),
    "no hidden size": (config("text_encoder-mlx-4bit/config.json", hidden_size=None),
                       "hidden_size is missing"),
    "karras": (config("scheduler/scheduler_config.json", use_karras_sigmas=True),
               "use_karras_sigmas is True"),
    "another scheduler": (config("scheduler/scheduler_config.json", _class_name="DDIMScheduler"),
                          "_class_name is 'DDIMScheduler'"),
    # trefoil.json
    "tap too high": (config("trefoil.json", text_encoder_out_layers=[1, 4]),
                     "reads hidden state 4, but num_hidden_layers is 3"),
    "tap twice": (config("trefoil.json", text_encoder_out_layers=[1, 1]), "names a layer twice"),
    "no taps": (config("trefoil.json", text_encoder_out_layers=[]), "expected a list of whole"),
    "FLUX.2's own taps": (remove("trefoil.json"), "reads hidden state 9, but"),
    "odd width": (config("trefoil.json", width=30), "width is 30, expected a multiple of 4"),
    "sizes": (config("trefoil.json", sizes=[[32, 30]]), "expected a list of [width, height]"),
    "steps": (config("trefoil.json", num_inference_steps=0), "num_inference_steps is 0"),
    "prompts": (config("trefoil.json", prompts=["a", 3]), "expected a list of sentences"),
    "sequence": (config("trefoil.json", max_sequence_length="x"), "max_sequence_length is 'x'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refused(build, mlx, tmp_path, case):
    change, says = REFUSALS[case]
    change(mlx)
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 1 and result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("packing ")]
    assert len(lines) == 1 and lines[0].startswith("build.py: "), result.stderr
    assert says in lines[0]
    assert str(mlx) in lines[0] or "tokenizer.json" in lines[0]
    assert not (tmp_path / "site").exists() and not list(tmp_path.glob(".*"))


ACCEPTED = {
    "unknown keys": config(f"{PACKED}/config.json", musubi_block_swap_device="cpu", zzz=[]),
    "no quantization_config": remove(f"{PACKED}/quantization_config.json"),
    "its other spelling": config(f"{PACKED}/quantization_config.json", bits=None, group_size=None,
                                 nbits=2, groupSize=128),
    "quantization_config key": config("text_encoder-mlx-4bit/config.json", quantization=None,
                                      quantization_config={"bits": 4, "group_size": 64}),
    "a scheduler file": config("scheduler/scheduler_config.json", shift=3.0, zzz=0,
                               _class_name="FlowMatchEulerDiscreteScheduler"),
    "a language-model head": add(TEXT, "lm_head.weight"),
    "more in the encoder": add(VAE, "encoder.more.weight"),
    "only the layers that run": tensors(TEXT, lambda t: [
        t.pop(name) for name in list(t) if name.startswith(("model.layers.2.", "model.norm"))]),
    "guidance": tensors(DIT, lambda t: t.update({
        "time_guidance_embed.guidance_embedder.linear_1.weight": ("F32", np.zeros((128, 32)))})),
    "stray trefoil keys": config("trefoil.json", guidance_scale=1.0),
    "rope_parameters": config("text_encoder-mlx-4bit/config.json", rope_theta=None,
                              rope_parameters={"rope_theta": 5e5, "rope_type": "default"}),
    "an explicit decoder": config("vae/config.json", decoder_block_out_channels=[8, 12]),
    "16-bit text without prefix": lambda folder: edit(folder / TEXT, strip_model),
}


def strip_model(t):
    for name in list(t):
        t[name.removeprefix("model.")] = t.pop(name)


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(build, mlx, tmp_path, case):
    ACCEPTED[case](mlx)
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr


def test_a_full_precision_checkpoint(build, unpacked, tmp_path):
    poke(PLAIN, f"{TO_Q}.weight", (7, 3), 0x3F81)(unpacked)
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1 and not (tmp_path / "site").exists()
    assert f"{TO_Q}.weight, row 7, columns 0 to 127: 3 different magnitudes" in result.stderr
    assert "an ordinary full-precision checkpoint" in result.stderr


def test_one_bit_off_the_grid_is_seen(build, unpacked, tmp_path):
    name = "single_transformer_blocks.0.attn.to_out.weight"
    stored = load(unpacked / PLAIN)[name][1]
    row, column = np.argwhere(stored & 0x7FFF)[1]
    poke(PLAIN, name, (row, column), stored[row, column] ^ 1)(unpacked)
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1 and f"{name}, row {row}," in result.stderr


def test_text_encoder_bits_of_a_quantised_encoder(build, mlx, tmp_path):
    result = build("--model", mlx, "--out", tmp_path / "site", "--text-encoder-bits", 8)
    assert result.status == 1
    assert "stored in 4 bits, got --text-encoder-bits 8, expected 4, 16 or none" in result.stderr


def test_a_text_encoder_of_odd_width(build, unpacked, tmp_path):
    write_json(unpacked / "text_encoder" / "config.json", TEXT_ENCODER | {"intermediate_size": 100})
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1
    assert "mlp.down_proj.weight is 100 wide, not a multiple of 64" in result.stderr
    assert "use --text-encoder-bits 16" in result.stderr


def test_a_missing_shard(build, unpacked, tmp_path):
    names = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    place = unpacked / "transformer"
    (unpacked / PLAIN).rename(place / names[0])
    placed = dict.fromkeys(load(place / names[0]), names[0])
    index = place / "diffusion_pytorch_model.safetensors.index.json"
    write_json(index, {"weight_map": placed})
    assert build("--model", unpacked, "--out", tmp_path / "site").status == 0
    write_json(index, {"weight_map": placed | {"proj_out.weight": names[1]}})
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1 and f"{names[1]}: missing, though" in result.stderr


def test_sizes_fall_back_to_what_the_patch_allows(build, mlx, tmp_path):
    write_json(mlx / "trefoil.json", {"text_encoder_out_layers": CALL["text_encoder_out_layers"]})
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
    manifest = json.loads((tmp_path / "site" / "model" / "manifest.json").read_text())
    pipeline = manifest["pipeline"]
    assert (pipeline["width"], pipeline["height"]) == (512, 512)
    assert pipeline["max_sequence_length"] == 512 and pipeline["num_inference_steps"] == 4
    assert manifest["latents"]["pixels"] == 4 and [512, 512] in pipeline["sizes"]
    assert manifest["sampler"]["shift"] == "empirical"
    assert manifest["sampler"]["config"]["shift"] == 3.0
    config = manifest["components"]["transformer"]["config"]
    assert config["rope_theta"] == TRANSFORMER["rope_theta"] and config["mlp_hidden"] == 256


@pytest.mark.parametrize(("call", "sizes"), [
    ({"width": 64}, [[64, 512]]), ({"height": 32, "width": 32}, [[32, 32]]),
    ({"width": 64, "height": 64, "sizes": [[32, 32]]}, [[64, 64], [32, 32]]),
    ({"width": 64, "height": 64, "sizes": [[32, 32], [64, 64]]}, [[32, 32], [64, 64]]),
])
def test_the_default_size_is_always_offered(build, mlx, tmp_path, call, sizes):
    write_json(mlx / "trefoil.json", {"text_encoder_out_layers": [1, 2]} | call)
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
    manifest = json.loads((tmp_path / "site" / "model" / "manifest.json").read_text())
    assert manifest["pipeline"]["sizes"] == sizes
