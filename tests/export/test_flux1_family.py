"""The family FLUX.1: what dev and schnell are called with, what its parts must agree on, its bases.
"""

import json
from types import SimpleNamespace

import pytest

from export.denoisers import flux1
from export.errors import ExportError
from export.families.call import read_call
from export.families.family import Opened
from export.families.flux1 import DEV, FLUX1, PIPELINE, SCHNELL
from export.families.recognise import base_of
from export.opening import open_sampler, read_length
from export.packing.memory import Picture
from export.source.configuration import Configuration
from export.source.listing import Listing

LATENTS = SimpleNamespace(pixels=16)


def call_of(guidance_embeds, **given):
    configs = {"transformer": SimpleNamespace(guidance_embeds=guidance_embeds)}
    usual = FLUX1.defaults(FLUX1.pipelines[PIPELINE], configs, LATENTS)
    config = Configuration("trefoil.json", given)
    own = FLUX1.read_own(Configuration("model_index.json", {}), config)
    return read_call(config, usual, LATENTS.pixels, own), usual


@pytest.mark.parametrize("embeds, steps, length, guidance", [
    (True, 28, 512, {"kind": "embedded", "scale": 3.5, "negative": False}),
    (False, 4, 256, {"kind": "none", "scale": 1, "negative": False}),
])
def test_the_transformer_tells_dev_from_schnell(embeds, steps, length, guidance):
    told = call_of(embeds)[0].manifest()
    assert (told["num_inference_steps"], told["max_sequence_length"]) == (steps, length)
    assert told["guidance"] == guidance
    assert (told["width"], told["height"]) == (512, 512)


def test_what_a_model_says_of_its_call():
    assert call_of(True, guidance_scale=2.5)[0].guidance.scale == 2.5
    assert call_of(False, guidance_scale=0.0)[0].guidance.kind == "none"  # as schnell's card has it
    assert call_of(False, max_sequence_length=512)[0].max_sequence_length == 512
    assert call_of(True, true_cfg_scale=1.0)[0] == call_of(True)[0]  # the pipeline's own


@pytest.mark.parametrize("embeds, given, told", [
    (False, {"guidance_scale": 3.5}, "guidance_scale is 3.5, and this model draws without"),
    (True, {"max_sequence_length": 513}, "max_sequence_length is 513"),
    (True, {"negative_prompt": "fog"}, "negative_prompt is 'fog', and this family takes none"),
    (False, {"text_encoder_out_layers": [1]}, "text_encoder_out_layers is"),
    (True, {"true_cfg_scale": 2.0}, "true_cfg_scale is 2.0, and this version draws FLUX.1 without"),
])
def test_calls_that_are_refused(embeds, given, told):
    with pytest.raises(ExportError, match=told):
        call_of(embeds, **given)


@pytest.mark.parametrize("embeds, shift, value", [(True, "dynamic", 3.0), (False, "static", 1.0)])
def test_the_scheduler_where_there_is_no_file(embeds, shift, value):
    call, usual = call_of(embeds)
    sampler = open_sampler(None, FLUX1, usual.samplers, call, usual.scheduler).manifest()
    assert (sampler["shift"], sampler["config"]["shift"]) == (shift, value)


def test_the_scheduler_of_a_file(tmp_path):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler"}))
    call, usual = call_of(True)
    sampler = open_sampler(path, FLUX1, usual.samplers, call, usual.scheduler)
    assert sampler.manifest()["shift"] == "static" and sampler.config["shift"] == 1.0


def opened(**change):
    widths = {"pooled_projection_dim": 768, "joint_attention_dim": 4096, "in_channels": 64} | change
    file = Configuration("transformer/config.json", {})
    parts = {"transformer": widths, "text_encoder": {"hidden_size": 768},
             "text_encoder_2": {"d_model": 4096}, "autoencoder": {"latent_channels": 16}}
    return {name: Opened(file, SimpleNamespace(**values)) for name, values in parts.items()}


def test_the_parts_agree():
    FLUX1.check(opened())


@pytest.mark.parametrize("change, told", [
    ({"pooled_projection_dim": 512}, "pooled_projection_dim is 512, expected CLIP's .* 768"),
    ({"joint_attention_dim": 768}, "joint_attention_dim is 768, expected T5's d_model 4096"),
    ({"in_channels": 128}, "in_channels is 128, expected 4 x the autoencoder's .* 16 = 64"),
])
def test_parts_that_do_not_agree(change, told):
    with pytest.raises(ExportError, match=told):
        FLUX1.check(opened(**change))


def test_latents_are_scaled_shifted_and_packed():
    configs = {"transformer": SimpleNamespace(in_channels=64), "autoencoder": SimpleNamespace(
        scale_factor=8, scaling_factor=0.5, shift_factor=0.1159)}
    assert FLUX1.latents(configs).manifest() == {
        "channels": 64, "pixels": 16, "patch": 2, "scale": 2, "shift": 0.1159}


@pytest.mark.parametrize("length, told", [
    (77, None), (77.0, None), (78, "is 78, expected"), (None, "expected a whole number up to"),
    (10**30, "max_position_embeddings 77"), (0, "is 0"),
])
def test_clip_s_texts_have_the_length_of_its_tokenizer(length, told, tmp_path):
    config = {} if length is None else {"model_max_length": length}
    tokenizer = SimpleNamespace(folder=tmp_path, config=config)
    encoder = SimpleNamespace(max_position_embeddings=77)
    if told is None:
        assert read_length(tokenizer, encoder) == 77
        return
    with pytest.raises(ExportError, match=told):
        read_length(tokenizer, encoder)


@pytest.mark.parametrize("side, tokens, tera", [
    (512, 256, 17.7), (512, 512, 21.5), (1024, 256, 69.5), (1024, 512, 74.4)])
def test_the_work_of_a_step(side, tokens, tera):
    """As counted of diffusers' own class at the published size."""
    config = flux1.read_config(Configuration("config.json", {"guidance_embeds": True}))
    picture = Picture(side, side, tokens, (side // 16)**2, tokens)
    assert flux1.step_flop(config, picture) / 1e12 == pytest.approx(tera, abs=0.06)


GUIDED = ["x_embedder.weight", "time_text_embed.guidance_embedder.linear_1.weight"]
NATIVE_GUIDED = ["img_in.weight", "model.diffusion_model.guidance_in.in_layer.weight"]
UNGUIDED = ["x_embedder.weight", "time_text_embed.text_embedder.linear_1.weight"]


@pytest.mark.parametrize("name, tensors, base", [
    ("me/FLUX.1-schnell-ternary", (), SCHNELL), ("me/flux1-dev-1.58bit", (), DEV),
    ("me/flux-development", (), None), ("me/FLUX.2-dev", (), None), ("me/mine", (), None),
    ("me/mine", GUIDED, DEV), ("me/mine", NATIVE_GUIDED, DEV), ("me/mine", UNGUIDED, SCHNELL),
    ("me/flux1-dev-as-schnell", UNGUIDED, SCHNELL), ("me/flux.1-dev", UNGUIDED, SCHNELL),
])
def test_names_or_tensors_tell_the_base(name, tensors, base):
    listing = Listing(name, ("transformer/config.json",), None, None)
    assert base_of(FLUX1, listing, tensors=tensors) is base
