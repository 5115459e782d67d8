"""The low-bit grids against brute force."""

import itertools

import numpy as np
import pytest
import torch

from tests.ternarize.teacher import rows
from train.ternarize import grid

GROUP = 8


def brute_force(weight, levels):
    """The least squared error of a group over every choice of values and the best scale of each."""
    choices = np.array(list(itertools.product(levels, repeat=GROUP)), np.float64)
    norms = np.square(choices).sum(1)
    gains = np.square(choices @ weight) / np.maximum(norms, 1)
    return np.square(weight).sum() - gains.max()


@pytest.mark.parametrize(("bits", "levels"), [("ternary", (-1, 0, 1)), ("binary", (-1, 1))])
def test_least_squares_is_the_best_of_all_choices(bits, levels):
    weight = rows(6, 4 * GROUP)
    scales = grid.least_squares(weight, GROUP, bits)
    fitted = grid.decode(grid.nearest(weight, scales, bits), scales)
    errors = grid.grouped(weight - fitted, GROUP).double().square().sum(-1)
    groups = grid.grouped(weight, GROUP).double().numpy()
    for place in np.ndindex(*groups.shape[:2]):
        want = brute_force(groups[place], levels)
        assert errors[place].item() == pytest.approx(want, rel=1e-5, abs=1e-6), place


@pytest.mark.parametrize("bits", ["ternary", "binary"])
def test_least_squares_is_a_fixed_point_of_refine(bits):
    weight = rows(16, 256)
    scales = grid.least_squares(weight, 128, bits)
    torch.testing.assert_close(grid.refine(weight, scales, bits), scales)


def test_refine_never_makes_the_error_larger():
    weight = rows(16, 256, seed=1)
    scales = 2.5 * grid.absmean(weight, 128, "ternary")
    errors = []
    for _ in range(4):
        fitted = grid.decode(grid.nearest(weight, scales, "ternary"), scales)
        errors.append((weight - fitted).square().sum().item())
        scales = grid.refine(weight, scales, "ternary")
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.99 * errors[0]


def test_least_squares_gains_over_absmean_what_gaussian_weights_promise():
    weight = torch.from_numpy(np.random.default_rng(2).standard_normal((256, 1024), np.float32))
    decibels = {}
    for name, fit in grid.FITS.items():
        scales = fit(weight, 128, "ternary")
        noise = weight - grid.decode(grid.nearest(weight, scales, "ternary"), scales)
        decibels[name] = 10 * torch.log10(weight.square().sum() / noise.square().sum()).item()
    assert decibels["least-squares"] == pytest.approx(7.28, abs=0.03)
    assert decibels["absmean"] == pytest.approx(5.83, abs=0.03)


@pytest.mark.parametrize("bits", ["ternary", "binary"])
def test_weights_on_the_grid_come_back_exactly(bits):
    levels = [-1, 0, 1] if bits == "ternary" else [-1, 1]
    values = torch.from_numpy(np.random.default_rng(3).choice(levels, (4, 256)).astype(np.int8))
    values[0, :128] = values[0, 0]  # a group of one value
    weight = grid.decode(values, torch.full((4, 2), 0.375))
    scales = grid.least_squares(weight, 128, bits)
    assert torch.equal(grid.decode(grid.nearest(weight, scales, bits), scales), weight)


def test_a_zero_group_stays_zero_and_a_binary_zero_is_positive():
    weight = torch.zeros(1, 128)
    scales = grid.least_squares(weight, 128, "ternary")
    assert scales.item() == 0 and not grid.nearest(weight, scales, "ternary").any()
    assert grid.nearest(weight, scales, "binary").unique().tolist() == [1]


def test_a_width_off_the_group_is_refused():
    with pytest.raises(ValueError, match="width is 200, expected a multiple of 128"):
        grid.least_squares(torch.zeros(2, 200), 128, "ternary")
