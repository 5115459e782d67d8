"""The models in the repository, through diffusers: an independent check of their format."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from train.garden import judge
from train.garden.figures import share
from train.garden.packed import draw_prompt, draw_prompts, load_pipeline
from train.garden.prompts import EXAMPLES, evaluation_prompts

MODELS = Path(__file__).parents[2] / "models"
STUDENTS = {"garden-ternary": 2, "garden-binary": 1}


@pytest.fixture(scope="module", params=STUDENTS)
def student(request):
    return MODELS / request.param


@pytest.fixture(scope="module")
def loaded(student):
    torch.set_num_threads(1)
    return load_pipeline(student)


def test_trefoil_json_has_call_arguments_only(student):
    facts = json.loads((student / "trefoil.json").read_text())
    assert facts.pop("sizes") == [[128, 128]] and facts.pop("prompts") == EXAMPLES
    assert set(facts) == {"text_encoder_out_layers", "max_sequence_length", "width", "height",
                          "num_inference_steps"}


def test_packed_tensors_have_the_published_names_and_types(student):
    bits = STUDENTS[student.name]
    path = student / "transformer-packed-mflux/diffusion_pytorch_model.safetensors"
    with safe_open(path, "pt") as file:
        keys = set(file.keys())
        packed = {key.removesuffix(".scales") for key in keys if key.endswith(".scales")}
        assert len(packed) == 2 * 12 + 4 * 2
        weight = file.get_tensor("single_transformer_blocks.3.attn.to_qkv_mlp_proj.weight")
        assert weight.dtype == torch.uint32 and weight.shape == (2304, 256 * bits // 32)
        for module in packed:
            scales, biases = (file.get_tensor(f"{module}.{end}") for end in ("scales", "biases"))
            assert scales.dtype == torch.bfloat16
            assert torch.equal(biases, -scales if bits == 2 else -scales / 2)
    with safe_open(student / "text_encoder-mlx-4bit/model.safetensors", "pt") as file:
        keys = set(file.keys())
        assert {"model.embed_tokens.scales", "model.norm.weight"} < keys
        assert not any(key.startswith("lm_head") for key in keys)


def test_the_same_seed_is_the_same_picture_and_another_is_not(loaded):
    first, again, other = (draw_prompt(*loaded, EXAMPLES[0], seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_pictures_drawn_together_are_those_drawn_alone(loaded):
    together = draw_prompts(*loaded, EXAMPLES[:2], [3, 4])
    for picture, prompt, seed in zip(together, EXAMPLES, (3, 4), strict=False):
        alone = draw_prompt(*loaded, prompt, seed)
        assert np.abs(picture.astype(int) - alone).max() <= 1


def test_pictures_follow_their_prompts(loaded):
    """Most of what the first held-out prompts name; `train.garden.evaluate` has the figures."""
    prompts = evaluation_prompts(24)
    pictures = draw_prompts(*loaded, [prompt.text for prompt in prompts],
                            [prompt.seed for prompt in prompts])
    seen = judge.load(MODELS / "garden-judge").read(pictures)
    right = [saw[name] == value for prompt, saw in zip(prompts, seen, strict=True)
             for name, value in prompt.wanted.items()]
    assert share(right)["share"] > .85
