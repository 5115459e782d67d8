"""What changes over a run, and which states it is taught on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.families.call import Guidance
from train.ternarize import descent, samplers, states
from train.ternarize.settings import Settings
from train.ternarize.trajectories import roll

FAMILY = SimpleNamespace(sigmas=torch.tensor([1.0, 0.9, 0.7, 0.4, 0.0]), state_shape=(6, 4),
                         guidance=Guidance(), negative_prompt=None, step=samplers.euler)
SETTINGS = Settings("ternary", batch=10, seed=3)


def test_rate_warms_up_and_falls_to_a_twentieth():
    rates = [descent.rate_at(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 50) and rates[49] == 1.0
    assert rates[49:] == sorted(rates[49:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, abs=1e-4)


def test_blend_falls_to_zero_and_features_fade_at_the_end():
    assert descent.blend_at(0, 0.25) == 1 and descent.blend_at(0.125, 0.25) == pytest.approx(0.5)
    assert descent.blend_at(0.25, 0.25) == descent.blend_at(1, 0.25) == 0
    assert descent.blend_at(0, 0) == 0
    weights = [descent.feature_weight_at(fraction, 0.1) for fraction in (0, 0.7, 0.85, 1)]
    assert weights == pytest.approx([0.1, 0.1, 0.05, 0])


@pytest.mark.parametrize(("fraction", "want"), [(0.4, (800, 200, 0)), (0.6, (600, 200, 200))])
def test_shares_of_the_kinds(fraction, want):
    counts = dict.fromkeys((states.RENOISED, states.TRAJECTORY, states.ROLLOUT), 0)
    for step in range(100):
        samples, depth = states.plan(SETTINGS, "train", step, fraction, FAMILY, 7, range(10))
        for sample in samples:
            counts[sample.kind] += 1
        assert bool(depth) == any(sample.kind == states.ROLLOUT for sample in samples)
    assert tuple(counts.values()) == want


def test_a_sample_does_not_depend_on_who_plans_it():
    everything, depth = states.plan(SETTINGS, "train", 5, 0.9, FAMILY, 7, range(10))
    for first in (0, 1):
        part, same = states.plan(SETTINGS, "train", 5, 0.9, FAMILY, 7, range(first, 10, 2))
        assert same == depth
        for got, want in zip(part, everything[first::2], strict=True):
            assert (got.kind, got.row, got.sigma) == (want.kind, want.row, want.sigma)
            assert np.array_equal(got.noise, want.noise)
    other, _ = states.plan(SETTINGS, "train", 6, 0.9, FAMILY, 7, range(10))
    assert [s.sigma for s in other] != [s.sigma for s in everything]


def test_sigmas_are_on_the_schedule_or_spread_over_it():
    random = np.random.default_rng(0)
    drawn = np.array([states.sample_sigma(FAMILY.sigmas, i % 4, random) for i in range(4000)])
    assert drawn.min() >= 0 and drawn.max() <= 1
    near = [np.abs(drawn - sigma).min() < 1e-3 for sigma in (1, 0.9, 0.7, 0.4, 0.1)]
    assert all(near)
    on_schedule = np.isclose(drawn[:, None], FAMILY.sigmas[:-1], rtol=0.06, atol=0).any(1).mean()
    assert 0.5 < on_schedule < 0.9


def test_states_are_made_as_their_kind_says():
    random = np.random.default_rng(1)
    path = torch.from_numpy(random.standard_normal((3, 5, 6, 4), np.float32))
    trajectories = SimpleNamespace(
        state=lambda rows, step: path[rows, step].clone(),
        context=lambda rows, teacher, negative: {
            "rows": torch.full((len(rows), 2, 8), float(teacher))},
        roll=lambda student, rows, steps: roll(family, student, path[rows, 0], None, steps))

    def velocity(transformer, states, sigmas, contexts):
        return states * sigmas[:, None, None]

    family = SimpleNamespace(**vars(FAMILY), velocity=velocity)
    noise = random.standard_normal((6, 4), np.float32)
    samples = [states.Sample(states.RENOISED, 0, 2, 0.25, noise),
               states.Sample(states.TRAJECTORY, 1, 3, 0.4),
               states.Sample(states.ROLLOUT, 2, 2, 0.7)]
    batch = states.assemble(samples, 2, family, trajectories, None)
    assert batch.wanted["rows"].all() and not batch.contexts["rows"].any()
    torch.testing.assert_close(batch.states[0], 0.75 * path[0, -1] + 0.25 * torch.tensor(noise))
    assert torch.equal(batch.states[1], path[1, 3])
    want = roll(family, None, path[2:, 0], None, 2)[-1][0]
    torch.testing.assert_close(batch.states[2], want)
    assert batch.sigmas.tolist() == pytest.approx([0.25, 0.4, 0.7])


def test_the_average_forgets_its_beginning():
    parameter = torch.nn.Parameter(torch.zeros(2))
    average = descent.Average([parameter], 0.99)
    with torch.no_grad():
        for step in range(200):
            parameter.fill_(1.0)
            average.update(step)
        parameter.zero_()
    average.apply()
    assert parameter.tolist() == pytest.approx([1, 1], abs=1e-3)
