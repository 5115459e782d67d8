"""The family Sana: what its pipelines are called with, and what its parts must agree on."""

import json
from types import SimpleNamespace

import pytest

from export.errors import ExportError
from export.families.call import read_call
from export.families.family import Asked, Opened
from export.families.sana import SANA, SPRINT, USUAL, read_transformer
from export.opening import open_sampler
from export.prompts.instruction import COMPLEX_HUMAN_INSTRUCTION
from export.samplers import dpm_solver, flow_euler_twice, scm
from export.source.configuration import Configuration

DEFAULT = list(COMPLEX_HUMAN_INSTRUCTION)
NONE = {"complex_human_instruction": None}


def read_own(pipeline, **call):
    index = Configuration("model_index.json", {"_class_name": pipeline} if pipeline else {})
    return SANA.read_own(index, Configuration("trefoil.json", call))


@pytest.mark.parametrize("pipeline, call, own", [
    (USUAL, {}, {"complex_human_instruction": DEFAULT, "negative_prompt": ""}),
    (None, {}, {"complex_human_instruction": DEFAULT, "negative_prompt": ""}),
    (USUAL, {"negative_prompt": "fog", **NONE}, NONE | {"negative_prompt": "fog"}),
    (USUAL, {"complex_human_instruction": ["Say:"]},
     {"complex_human_instruction": ["Say:"], "negative_prompt": ""}),
    (SPRINT, {}, {"complex_human_instruction": DEFAULT, "intermediate_timesteps": 1.3}),
    (SPRINT, {"negative_prompt": "", "complex_human_instruction": []},
     NONE | {"intermediate_timesteps": 1.3}),
    (SPRINT, NONE | {"intermediate_timesteps": None}, NONE | {"intermediate_timesteps": None}),
    (SPRINT, NONE | {"intermediate_timesteps": 1.1}, NONE | {"intermediate_timesteps": 1.1}),
])
def test_the_call_of_a_pipeline(pipeline, call, own):
    assert read_own(pipeline, **call) == own


@pytest.mark.parametrize("pipeline, call, told", [
    (USUAL, {"negative_prompt": 3}, "negative_prompt is 3, expected a text"),
    (USUAL, {"intermediate_timesteps": 1.3}, "intermediate_timesteps is 1.3.*no Sprint"),
    (USUAL, {"complex_human_instruction": "Say:"}, "expected a list of lines"),
    (SPRINT, {"negative_prompt": "fog"}, "negative_prompt is 'fog'.*Sprint is not led"),
    (SPRINT, {"intermediate_timesteps": 1.6}, "intermediate_timesteps is 1.6"),
    (SPRINT, {"intermediate_timesteps": 1.3, "num_inference_steps": 4}, "with 2 steps only"),
])
def test_calls_that_are_refused(pipeline, call, told):
    with pytest.raises(ExportError, match=told):
        read_own(pipeline, **call)


@pytest.mark.parametrize("pipeline, steps, guidance", [
    (USUAL, 20, {"kind": "cfg", "scale": 4.5, "negative": True}),
    (SPRINT, 2, {"kind": "embedded", "scale": 4.5, "negative": False}),
])
def test_pictures_of_the_size_that_the_model_knows(pipeline, steps, guidance):
    """Sixteenths of its side are a sequence of those that it was trained in."""
    latents = SimpleNamespace(pixels=32)
    for sample_size, sizes in (
            (16, [[512, 512], [576, 448], [448, 576], [672, 384], [384, 672]]),
            (128, [[4096, 4096], [3072, 4096]]), (1, [[32, 32]])):
        configs = {"transformer": SimpleNamespace(sample_size=sample_size)}
        usual = SANA.defaults(SANA.pipelines[pipeline], configs, latents)
        call = read_call(Configuration("trefoil.json", {}), usual, 32, {}).manifest()
        assert (call["width"], call["height"]) == (32 * sample_size, 32 * sample_size)
        assert call["sizes"] == sizes or sample_size == 128
        assert all(0 < side <= 4096 and side % 32 == 0 for size in call["sizes"] for side in size)
    assert call["num_inference_steps"] == steps and call["guidance"] == guidance
    assert call["max_sequence_length"] == 300


@pytest.mark.parametrize("pipeline, name, told", [
    (USUAL, scm.CLASS, f"draws only with {dpm_solver.CLASS} or {flow_euler_twice.CLASS}"),
    (SPRINT, dpm_solver.CLASS, f"draws only with {scm.CLASS}"),
])
def test_a_scheduler_that_the_pipeline_has_no_use_for(pipeline, name, told, tmp_path):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": name}))
    call = SANA.pipelines[pipeline]
    with pytest.raises(ExportError, match=told):
        open_sampler(path, SANA, call.samplers, call)
    sampler = open_sampler(None, SANA, call.samplers, call)
    assert sampler.class_name == call.samplers[0]


@pytest.mark.parametrize("pipeline, values, read", [
    (USUAL, {"_class_name": flow_euler_twice.CLASS, "shift": 3.0, "flow_shift": 6.0,
             "use_flow_sigmas": True, "prediction_type": "flow_prediction", "solver_order": 2,
             "algorithm_type": "dpmsolver++", "beta_end": 0.02},
     {"num_train_timesteps": 1000, "shift": 3.0}),
    (USUAL, {"_class_name": dpm_solver.CLASS, "flow_shift": 3.0, "use_flow_sigmas": True,
             "prediction_type": "flow_prediction", "shift": 6.0, "base_shift": 0.5,
             "max_image_seq_len": 4096, "stochastic_sampling": False},
     {"num_train_timesteps": 1000, "flow_shift": 3.0, "solver_order": 2}),
    (SPRINT, {"_class_name": scm.CLASS, "flow_shift": 3.0, "use_flow_sigmas": True, "shift": 2.0},
     {"max_timesteps": 1.5708, "intermediate_timesteps": None}),
])
def test_keys_of_the_class_that_was_there_before(pipeline, values, read, tmp_path):
    """diffusers' from_config leaves them in the file, and its class passes over them."""
    path, call = tmp_path / "scheduler_config.json", SANA.pipelines[pipeline]
    path.write_text(json.dumps(values))
    assert open_sampler(path, SANA, call.samplers, call).config == read
    path.write_text(json.dumps(values | {"flow_drift": 3.0}))
    with pytest.raises(ExportError, match="flow_drift is 3.0, a key that this version does not"):
        open_sampler(path, SANA, call.samplers, call)


def opened(**change):
    parts = {"text_encoder": {"hidden_size": 64}, "autoencoder": {"latent_channels": 32},
             "transformer": {"caption_channels": 64, "in_channels": 32}}
    file = Configuration("config.json", {})
    return {name: Opened(file, SimpleNamespace(**values | change.get(name, {})))
            for name, values in parts.items()}


def test_widths_that_agree():
    SANA.check(opened())
    for change, told in (
            ({"text_encoder": {"hidden_size": 32}},
             "caption_channels is 64, expected the text encoder's hidden_size 32"),
            ({"autoencoder": {"latent_channels": 16}},
             "in_channels is 32, expected the autoencoder's latent_channels 16")):
        with pytest.raises(ExportError, match=told):
            SANA.check(opened(**change))


def test_guidance_is_embedded_for_sprint_alone():
    for embedded in (True, False):
        file = Configuration("config.json", {"guidance_embeds": embedded})
        own = {"intermediate_timesteps": 1.3}
        assert read_transformer(file, Asked(own if embedded else {})).guidance_embeds == embedded
        with pytest.raises(ExportError, match=f"guidance_embeds is {str(embedded).lower()}, exp"):
            read_transformer(file, Asked({} if embedded else own))
