"""The family against diffusers' own pipeline."""

import numpy as np
import pytest
import torch

from tests.reference import reference
from train.ternarize.family import open_teacher
from train.ternarize.trajectories import roll


@pytest.fixture(scope="module")
def drawn(teacher):
    """What diffusers draws with the teacher."""
    return reference(teacher, "an old pine in the snow", 5, 32, 24, 3)


def test_it_draws_as_diffusers_does(teacher, drawn):
    family = open_teacher(teacher)
    assert family.sigmas.numpy() == pytest.approx(drawn["sigmas"], abs=1e-6)
    assert family.state_shape == drawn["noise"].shape
    context = family.load_encoder(torch.float32, "cpu")(["an old pine in the snow"])
    assert context["rows"].shape[1:] == family.context_shapes["rows"]
    np.testing.assert_allclose(context["rows"][0], drawn["encoder_rows"], atol=1e-5)
    transformer, _ = family.load_transformer()
    family.prepare(transformer, torch.float32)
    noise = torch.from_numpy(drawn["noise"])[None]
    path = roll(family, transformer, noise, context, 3)
    np.testing.assert_allclose(path[-1][0], drawn["latents"], atol=1e-4, rtol=1e-4)


def test_in_bf16_the_time_stays_exact(teacher, drawn):
    """Two sigmas that bf16 cannot tell apart give different time embeddings."""
    family = open_teacher(teacher)
    transformer = family.prepare(family.load_transformer()[0], torch.bfloat16)
    seen = []
    transformer.time_guidance_embed.timestep_embedder.register_forward_hook(
        lambda module, inputs, output: seen.append(output))
    context = {"rows": torch.from_numpy(drawn["encoder_rows"])[None].bfloat16()}
    for sigma in (0.7, 0.7004):
        with torch.no_grad():
            noise = torch.from_numpy(drawn["noise"])[None]
            family.velocity(transformer, noise, torch.tensor([sigma]), context)
    assert torch.tensor(0.7).bfloat16() == torch.tensor(0.7004).bfloat16()
    assert seen[0].dtype == torch.float32 and not torch.equal(*seen)


def test_the_blocks_are_in_the_order_of_use_and_hold_all_low_bit_weights(teacher):
    family = open_teacher(teacher)
    transformer, weights = family.load_transformer()
    blocks = family.blocks(transformer)
    assert list(blocks) == ["transformer_blocks.0", "single_transformer_blocks.0"]
    linears = {f"{name}.{inner}.weight" for name, block in blocks.items()
               for inner, module in block.named_modules() if isinstance(module, torch.nn.Linear)}
    assert linears == set(family.lowbit) <= weights.keys()


def test_another_size_and_count_of_steps(teacher):
    family = open_teacher(teacher, steps=5, width=64, height=16)
    assert len(family.sigmas) == 6 and family.state_shape == (16, 32)
    assert family.fingerprint() != open_teacher(teacher).fingerprint()
