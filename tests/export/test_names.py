"""Names as people's files have them: any common prefix, and tensors that nobody needs."""

import numpy as np
import pytest

from tests.export.packed import PackedSite
from tests.export.test_published import shards
from tests.export.tiny import edit
from tests.fullscale.formats import Part, write_safetensors
from tests.fullscale.layouts import gguf_lowbit, native_parts, write, write_gguf
from tests.fullscale.model import Model

DIT = "transformer/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
COMPONENTS = ("text_encoder", "transformer", "autoencoder")
SCALAR, EMPTY = ("F32", np.array(1.0)), ("F32", np.zeros(0))


def built(build, folder, out):
    result = build("--model", folder, "--out", out)
    assert result.status == 0, result.stderr
    return [shards(PackedSite(out), component) for component in COMPONENTS]


def renamed(new_name):
    def change(tensors):
        for name in list(tensors):
            tensors[new_name(name)] = tensors.pop(name)

    return change


def with_prefix(prefix):
    return renamed(lambda name: prefix + name.removeprefix("model."))


@pytest.mark.parametrize(("transformer", "text", "vae"), [
    ("transformer.", "model.model.", "vae."), ("module.", "language_model.model.", "module."),
    ("model.", "text_encoder.", "first_stage_model."), ("net.", "", "autoencoder.vae."),
    ("_orig_mod.", "_orig_mod.model.", "_orig_mod."), ("a.b.c.", "thinker.model.", "x."),
    ("model.diffusion_model.", "model.text.model.", "model."),
])
def test_a_common_prefix_is_taken_off(build, unpacked, tmp_path, transformer, text, vae):
    reference = built(build, unpacked, tmp_path / "site")
    edit(unpacked / DIT, with_prefix(transformer))
    edit(unpacked / TEXT, with_prefix(text))
    edit(unpacked / VAE, with_prefix(vae))
    assert built(build, unpacked, tmp_path / "again") == reference


def test_torch_s_wrappers_inside_names(build, unpacked, tmp_path):
    reference = built(build, unpacked, tmp_path / "site")
    edit(unpacked / DIT, renamed(lambda n: n.replace("blocks.0.", "blocks.0._orig_mod.")))
    assert built(build, unpacked, tmp_path / "again") == reference


@pytest.mark.parametrize("prefix", ["diffusion_model.", "model.", "net.", "module.model."])
@pytest.mark.parametrize("layout", ["native", "gguf"])
def test_a_prefix_of_a_single_file(build, tmp_path, prefix, layout):
    model = Model("tiny", "ternary")
    write(model, layout, tmp_path / "m")
    reference = built(build, tmp_path / "m", tmp_path / "site")
    bf16 = lambda native, names, shape: Part(  # noqa: E731
        native, "BF16", shape, lambda: (model.weights(name) for name in names)
    )
    parts = native_parts(model, gguf_lowbit(model, "Q2_0") if layout == "gguf" else bf16)
    for part in parts:
        part.name = prefix + part.name
    path = next((tmp_path / "m").glob("*.gguf" if layout == "gguf" else "*.safetensors"))
    (write_gguf if layout == "gguf" else write_safetensors)(path, parts)
    assert built(build, tmp_path / "m", tmp_path / "again") == reference


def test_two_models_in_one_file_do_not_fit(build, unpacked, tmp_path):
    edit(unpacked / VAE, with_prefix("vae."))
    edit(unpacked / VAE, lambda t: t.update({"other.decoder.conv_in.weight": SCALAR}))
    result = build("--model", unpacked, "--out", tmp_path / "site")
    assert result.status == 1 and "1 tensors unknown: other.decoder.conv_in.weight" in result.stderr


@pytest.mark.parametrize(("file", "names"), [
    (TEXT, ("model.embeddings.position_ids", "model.layers.0.self_attn.rotary_emb.inv_freq",
            "model.rotary_emb.inv_freq", "score.weight", "lm_head.weight", "lm_head.bias",
            "model.layers.1.self_attn.rotary_emb.cos_cached")),
    (VAE, ("loss.logvar", "decoder.norm.num_batches_tracked", "loss.discriminator.main.0.weight")),
    (DIT, ("scaled_fp8", "transformer_blocks.0.ff.linear_in.input_scale", "pos_embed.freqs_cis",
           "__index_timestep_zero__")),
])
@pytest.mark.parametrize("tensor", [SCALAR, EMPTY, ("I64", np.zeros((2, 3)))])
def test_harmless_tensors_are_left_out(build, unpacked, tmp_path, file, names, tensor):
    reference = built(build, unpacked, tmp_path / "site")
    edit(unpacked / file, lambda t: t.update(dict.fromkeys(names, tensor)))
    assert built(build, unpacked, tmp_path / "again") == reference
    summary = build("--model", unpacked, "--dry-run")
    assert summary.status == 0 and "which follow" in summary.stdout or file != TEXT


@pytest.mark.parametrize("tensor", [SCALAR, EMPTY, ("F32", np.zeros((0, 3)))])
@pytest.mark.parametrize("name", ["img_in.strange", "double_blocks.0.img_attn.qkv.bias", "a.b"])
def test_unknown_scalars_and_empty_tensors_are_named(build, tmp_path, name, tensor):
    model = Model("tiny", "ternary")
    write(model, "native", tmp_path / "m")
    path = next((tmp_path / "m").glob("*.safetensors"))
    edit(path, lambda t: t.update({name: tensor}))
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and f"1 tensors unknown: {name};" in result.stderr


@pytest.mark.parametrize("tensor", [SCALAR, EMPTY])
@pytest.mark.parametrize("name", ["img_in.weight", "double_blocks.0.img_attn.qkv.weight",
                                  "final_layer.adaLN_modulation.1.weight"])
def test_scalars_where_a_weight_belongs(build, tmp_path, name, tensor):
    write(Model("tiny", "ternary"), "native", tmp_path / "m")
    edit(next((tmp_path / "m").glob("*.safetensors")), lambda t: t.update({name: tensor}))
    result = build("--model", tmp_path / "m", "--out", tmp_path / "site")
    assert result.status == 1 and len(result.stderr.splitlines()) == 1


def test_marks_of_other_programs_in_a_single_file(build, tmp_path):
    write(Model("tiny", "ternary"), "native", tmp_path / "m")
    reference = built(build, tmp_path / "m", tmp_path / "site")
    marks = {"img_in.input_scale": SCALAR, "double_blocks.0.img_attn.qkv.input_scale": SCALAR,
             "scaled_fp8": EMPTY, "__index_timestep_zero__": SCALAR}
    edit(next((tmp_path / "m").glob("*.safetensors")), lambda t: t.update(marks))
    assert built(build, tmp_path / "m", tmp_path / "again") == reference
