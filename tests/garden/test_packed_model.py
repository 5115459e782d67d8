"""The packed model in the repository, through diffusers: an independent check of its format."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from export.garden.judge import judge
from export.garden.packed import draw_prompt, load_pipeline
from export.garden.prompts import EXAMPLES

MODEL = Path(__file__).parents[2] / "models/garden-ternary"


@pytest.fixture(scope="module")
def loaded():
    torch.set_num_threads(1)
    return load_pipeline(MODEL)


def test_trefoil_json_has_call_arguments_only():
    facts = json.loads((MODEL / "trefoil.json").read_text())
    assert facts.pop("sizes") == [[128, 128]] and facts.pop("prompts") == EXAMPLES
    assert set(facts) == {"text_encoder_out_layers", "max_sequence_length", "width", "height",
                          "num_inference_steps"}


def test_packed_tensors_have_the_published_names_and_types():
    path = MODEL / "transformer-packed-mflux/diffusion_pytorch_model.safetensors"
    with safe_open(path, "pt") as file:
        keys = set(file.keys())
        packed = {key.removesuffix(".scales") for key in keys if key.endswith(".scales")}
        assert len(packed) == 2 * 12 + 4 * 2
        weight = file.get_tensor("single_transformer_blocks.3.attn.to_qkv_mlp_proj.weight")
        assert weight.dtype == torch.uint32 and weight.shape == (2304, 256 // 16)
        for module in packed:
            scales, biases = (file.get_tensor(f"{module}.{end}") for end in ("scales", "biases"))
            assert scales.dtype == torch.bfloat16 and torch.equal(biases, -scales)
    path = MODEL / "text_encoder-mlx-4bit/model.safetensors"
    with safe_open(path, "pt") as file:
        keys = set(file.keys())
        assert {"model.embed_tokens.scales", "model.norm.weight"} < keys
        assert not any(key.startswith("lm_head") for key in keys)


def test_the_same_seed_is_the_same_picture_and_another_is_not(loaded):
    first, again, other = (draw_prompt(*loaded, EXAMPLES[0], seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_pictures_follow_their_prompt(loaded):
    """Two prompts that differ in all three colours; each gets its own."""
    verdicts = [judge(draw_prompt(*loaded, prompt, 0)) for prompt in (
        "a green bonsai in a round white pot at night",
        "a red bonsai in a round blue pot under a grey sky")]
    assert verdicts == [{"sky": "night", "foliage": "green", "pot": "white"},
                        {"sky": "grey", "foliage": "red", "pot": "blue"}]
