"""The student's rounding and gradients, on one linear and one norm."""

import pytest
import torch
from torch import nn

from export.errors import ExportError
from tests.ternarize.teacher import rows
from train.ternarize import grid
from train.ternarize.student import Student

GROUP = 32


class Net(nn.Module):
    """A low-bit linear, then a dense gain: y = gain * (x W^T)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 6, bias=False)
        self.gain = nn.Parameter(torch.ones(6))

    def forward(self, x):
        return self.gain * self.linear(x)


def make(bits="ternary", group=GROUP):
    weights = {"linear.weight": rows(6, 64), "gain": 1 + rows(1, 6, seed=1)[0] / 8}
    student = Student(Net(), weights, ["linear.weight"], group, bits)
    student.initialise()
    return student, weights


def loss_of(net):
    x = rows(5, 64, seed=2)
    return (net(x) - rows(5, 6, seed=3)).square().mean()


@pytest.mark.parametrize("bits", ["ternary", "binary"])
def test_it_computes_with_what_a_file_would_hold(bits):
    student, weights = make(bits)
    for name, values, scales in student.tensors():
        want = values.float() if scales is None else grid.decode(values, scales.float())
        assert torch.equal(student.parameters[name].detach(), want), name
    assert set(student.values["linear.weight"].unique().tolist()) == set(
        (-1, 0, 1) if bits == "ternary" else (-1, 1))
    assert torch.equal(student.parameters["gain"], weights["gain"].bfloat16().float())


def test_blend_goes_from_latent_to_low_bit():
    student, weights = make()
    student.load(0.0)
    low = student.parameters["linear.weight"].detach().clone()
    student.load(1.0)
    torch.testing.assert_close(student.parameters["linear.weight"].data, weights["linear.weight"])
    student.load(0.25)
    want = 0.75 * low + 0.25 * weights["linear.weight"]
    torch.testing.assert_close(student.parameters["linear.weight"].data, want)


@pytest.mark.parametrize("blend", [0.0, 0.25])
def test_latent_and_dense_gradients_pass_straight_through(blend):
    student, _ = make()
    student.load(blend)
    loss_of(student.transformer).backward()
    want = {name: p.grad.clone() for name, p in student.parameters.items()}
    student.collect(blend)
    for name, master in student.masters.items():
        assert torch.equal(master.grad, want[name]), name
        assert student.parameters[name].grad is None


@pytest.mark.parametrize("blend", [0.0, 0.5])
@pytest.mark.parametrize("bits", ["ternary", "binary"])
def test_scale_gradients_are_the_slope_of_the_loss(bits, blend):
    """Central differences, exact for a loss that is quadratic in the scale; steps in bf16."""
    student, _ = make(bits)
    name = "linear.weight"
    with torch.no_grad():
        student.scales[name].copy_(grid.stored(student.scales[name]))
        # No weight near a threshold, so that no value changes within the step.
        limit = student.scales[name].repeat_interleave(GROUP, 1) / 2
        near = (student.masters[name].abs() - limit).abs() < 0.1 * limit
        student.masters[name][near] = 0.5 * limit[near]
    student.load(blend)
    loss_of(student.transformer).backward()
    student.collect(blend)
    slopes = student.scales[name].grad * GROUP**0.5
    for place in ((0, 0), (3, 1), (5, 0)):
        scale = student.scales[name][place].item()
        step = 2.0**-6 * 2.0 ** torch.tensor(scale).log2().floor().item()
        losses = []
        for moved in (scale + step, scale - step):
            with torch.no_grad():
                student.scales[name][place] = moved
            assert student.load(blend) == 0, "a value changed"
            losses.append(loss_of(student.transformer).double().item())
        with torch.no_grad():
            student.scales[name][place] = scale
        want = (losses[0] - losses[1]) / (2 * step)
        assert slopes[place].item() == pytest.approx(want, rel=2e-3, abs=1e-5)


def test_gradients_of_micro_batches_add_up():
    student, _ = make()
    for _ in range(2):
        loss_of(student.transformer).backward()
        student.collect()
    twice = {name: p.grad.clone() for name, p in (student.masters | student.scales).items()}
    for parameter in (*student.masters.values(), *student.scales.values()):
        parameter.grad = None
    (2 * loss_of(student.transformer)).backward()
    student.collect()
    for name, parameter in (student.masters | student.scales).items():
        torch.testing.assert_close(parameter.grad, twice[name])


def test_frozen_values_never_change_and_scales_still_learn():
    student, _ = make()
    student.freeze()
    values = student.values["linear.weight"].clone()
    with torch.no_grad():
        student.scales["linear.weight"].mul_(3)
    assert student.load() == 0 and torch.equal(student.values["linear.weight"], values)
    loss_of(student.transformer).backward()
    student.collect()
    assert student.scales["linear.weight"].grad.any() and student.masters["gain"].grad.any()
    assert "linear.weight" not in student.masters and not student.latents()


def test_load_counts_the_values_that_changed():
    student, _ = make()
    assert student.load() == 0
    with torch.no_grad():
        student.masters["linear.weight"][2, :3] = torch.tensor([9.0, -9.0, 0.0])
    before = student.values["linear.weight"].clone()
    flips = student.load()
    assert flips == (student.values["linear.weight"] != before).sum() and 0 < flips <= 3


def test_a_width_off_the_group_is_refused():
    with pytest.raises(ExportError, match="linear.weight has 64 inputs, expected a multiple of 48"):
        make(group=48)
