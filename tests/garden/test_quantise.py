import numpy as np
import pytest
import torch

from export.errors import ExportError
from export.garden import quantise
from export.garden.denoiser import Networks, Rounding, sample_sigmas, storage
from export.garden.muon import Muon, orthogonalise
from export.garden.pack import packed_tensors
from export.garden.packed import dequantise
from export.pack import pack_words


def weights(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_ternary_scales_are_least_squares():
    weight = weights(4, 256)
    scales = quantise.ternary_scales(weight)
    groups = quantise.grouped(weight, 128)
    for row in range(4):
        for group in range(2):
            values = groups[row, group]
            candidates = torch.linspace(.2, 3, 2000)[:, None]
            rounded = candidates * values.sign() * (values.abs() > candidates / 2)
            best = (rounded - values).square().sum(1).min()
            scale = scales[row, group]
            mine = scale * values.sign() * (values.abs() > scale / 2)
            assert (mine - values).square().sum() <= best * (1 + 1e-5)


def test_exact_scales_are_a_fixed_point_of_lloyd():
    weight = weights(8, 512)
    scales = quantise.ternary_scales(weight)
    torch.testing.assert_close(quantise.refine_scales(weight, scales), scales)


def test_ternary_keeps_a_ternary_weight_and_an_empty_group():
    signs = torch.randint(-1, 2, (3, 256), generator=torch.Generator().manual_seed(1)).float()
    signs[0, :128] = 0
    weight = signs * .375
    assert torch.equal(quantise.ternary(weight, quantise.ternary_scales(weight)), weight)


def test_width_that_is_no_multiple_of_the_group_is_refused():
    with pytest.raises(ValueError, match="width is 200, expected a multiple of 128"):
        quantise.ternary_scales(torch.zeros(2, 200))


def test_affine_error_is_within_half_a_step():
    weight = weights(6, 192)
    _, scales, _ = quantise.affine_parts(weight)
    error = quantise.grouped(quantise.affine(weight) - weight, 64).abs()
    assert (error <= scales[..., None] * .5 + .02).all() and error.max() > 0


def test_bit_order_of_a_hand_written_word():
    codes = np.ones((1, 16), np.uint8)
    codes[0, 0] = 2
    assert pack_words(codes, 2).tolist() == [[0x55555556]]
    assert pack_words(np.arange(8, dtype=np.uint8)[None], 4).tolist() == [[0x76543210]]
    with pytest.raises(ExportError, match="15 codes of 2 bits do not fill whole 32-bit words"):
        pack_words(np.ones((1, 15), np.uint8), 2)


def test_packed_weights_are_the_trained_ones():
    """Packing and the independent reader give back exactly the weights of the last step."""
    torch.manual_seed(3)
    networks = Networks()
    masters = {name: p.detach().clone() for name, p in networks.parameters().items()}
    Rounding().load(networks.parameters(), masters, 0, 1.0)
    transformer, text_encoder = packed_tensors(masters)
    for name, parameter in networks.parameters().items():
        part, key = name.split(".", 1)
        module = key.removesuffix(".weight")
        stored = transformer if part == "transformer" else text_encoder
        module = module if part == "transformer" else f"model.{module}"
        kind = storage(name, parameter)
        if kind == "dense":
            assert torch.equal(stored[f"{module}.weight"], masters[name].bfloat16())
            continue
        bits, group = (2, 128) if kind == "ternary" else (4, 64)
        got = dequantise(*(stored[f"{module}.{end}"] for end in ("weight", "scales", "biases")),
                         bits, group)
        assert torch.equal(got, parameter.detach()), name
        if kind == "ternary":
            assert torch.equal(stored[f"{module}.biases"], -stored[f"{module}.scales"])


def test_the_block_linears_are_ternary_and_nothing_else():
    kinds = {name: storage(name, p) for name, p in Networks().parameters().items()}
    ternary = [name for name, kind in kinds.items() if kind == "ternary"]
    assert len(ternary) == 2 * 12 + 4 * 2
    assert all("transformer_blocks." in name and "norm" not in name for name in ternary)


def test_sigmas_follow_the_samplers_schedule():
    sigmas = sample_sigmas(4000, np.random.default_rng(0)).numpy()
    shift = np.exp(1.919)     # empirical mu of 64 tokens and 8 steps
    expected = shift / (shift + 1)      # median of the shifted uniform
    assert abs(np.median(sigmas) - expected) < 5e-3
    assert 0 < sigmas.min() and sigmas.max() < 1


def test_muon_steps_are_orthogonal_and_descend():
    values = torch.linalg.svdvals(orthogonalise(weights(64, 96)))
    assert .6 < values.min() and values.max() < 1.3
    matrix, target = torch.nn.Parameter(torch.zeros(32, 16)), weights(32, 16)
    optimiser = Muon([matrix], 5e-2)
    losses = []
    for _ in range(60):
        loss = (matrix - target).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < .8 * losses[0]
