"""The training loop, the flow's samples and the distillation, each on the real networks."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from train.garden import distil, flow, loop
from train.garden.checkpoint import load_latest, save
from train.garden.muon import Muon, orthogonalise
from train.garden.networks import Networks


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """A run of one process has nobody to average or to agree with."""
    monkeypatch.setattr(loop, "average_gradients", lambda parameters: None)
    monkeypatch.setattr(loop, "agree", lambda value: value)
    torch.set_num_threads(1)


def samples(seed):
    rng = np.random.default_rng(seed)
    latents, noise = (torch.from_numpy(rng.standard_normal((2, 64, 64), np.float32))
                      for _ in range(2))
    ids = torch.from_numpy(rng.integers(3, 800, (2, 40)))
    return latents, ids, torch.ones_like(ids), torch.tensor([.9, .6]), noise


def fresh():
    torch.manual_seed(0)
    networks = Networks()
    return networks, loop.Run(networks.parameters(), flow.RATES)


def advance(networks, run, steps):
    for _ in range(steps):
        run.fill(run.masters)
        flow.flow_loss(networks, *samples(run.step)).backward()
        run.update(.7)


def test_a_resumed_run_continues_as_if_never_stopped(tmp_path):
    networks, run = fresh()
    advance(networks, run, 1)
    save(tmp_path, "flow", run.state())
    advance(networks, run, 1)

    networks, resumed = fresh()
    resumed.restore(load_latest(tmp_path, "flow"))
    assert resumed.step == 1
    advance(networks, resumed, 1)
    for name, master in run.masters.items():
        assert torch.equal(master, resumed.masters[name]), name
        assert torch.equal(run.average[name], resumed.average[name]), name


def toy_run(rate):
    """A matrix for Muon and a vector for Adam, with their squared distance from one."""
    parameters = {"transformer_blocks.0.weight": torch.nn.Parameter(torch.zeros(4, 4)),
                  "norm.weight": torch.nn.Parameter(torch.zeros(4))}
    run = loop.Run(parameters, (rate, rate))
    return run, lambda step: sum((p - 1).square().mean() for p in parameters.values())


def test_fit_learns_and_leaves_a_checkpoint(tmp_path, capsys):
    run, loss_at = toy_run(5e-2)
    loop.fit(run, "toy", tmp_path, .5, 0, loss_at, lambda: loss_at(0).item())
    assert load_latest(tmp_path, "toy")["step"] == run.step > 10
    assert float(capsys.readouterr().out.split()[-1]) < 1       # from 2


def test_fit_stops_on_a_loss_that_is_not_finite(tmp_path):
    run, loss_at = toy_run(1)
    with pytest.raises(FloatingPointError, match="toy: loss is nan at step 1"):
        loop.fit(run, "toy", tmp_path, 9, 0, lambda step: loss_at(step) * float("nan"), None)


def test_nothing_saved_means_nothing_loaded(tmp_path):
    assert load_latest(tmp_path, "flow") is None


def test_sigmas_follow_the_samplers_schedule():
    sigmas = flow.sample_sigmas(4000, np.random.default_rng(0)).numpy()
    assert abs(np.median(sigmas) - flow.shifted(.5)) < 5e-3
    assert 0 < sigmas.min() and sigmas.max() < 1


def test_steps_that_are_taught_are_the_schedulers():
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    from export.denoisers.flux2 import SCHEDULER
    scheduler = FlowMatchEulerDiscreteScheduler(**SCHEDULER)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 4, 4), mu=compute_empirical_mu(64, 4))
    np.testing.assert_allclose(flow.shifted(distil.STEPS[:4, 0]), scheduler.sigmas[:4], rtol=1e-6)
    assert np.isclose(distil.STEPS[:, 2].sum(), 1)


class Straight:
    """A flow whose velocity at sigma is `speed(sigma)` everywhere, times the embedding's first."""

    def __init__(self, speed):
        self.speed = speed

    def encode(self, ids, mask):
        return torch.ones(len(ids), 1, 1)

    def velocity(self, noisy, sigmas, embeddings):
        return (self.speed(sigmas)[:, None, None] * embeddings[:, :1, :1]).expand_as(noisy)


def test_mean_velocity_is_the_way_of_smaller_steps():
    start, span = np.array([.25, 1.0]), np.array([.25, .25])
    noisy, prompt = torch.zeros(2, 3, 5), torch.ones(2, 1, 1)
    flow_of = Straight(lambda sigma: 2 * sigma)
    got = distil.mean_velocity(flow_of, noisy, start, span, prompt, prompt)
    for row in range(2):
        places = start[row] - span[row] * np.linspace(0, 1, distil.SMALLER + 1)
        sigmas = flow.shifted(places)
        way = sum(2 * a * (b - a) for a, b in zip(sigmas, sigmas[1:], strict=False))
        expected = way / (sigmas[-1] - sigmas[0])
        torch.testing.assert_close(got[row], torch.full((3, 5), float(expected)))


def test_a_student_equal_to_a_straight_flow_has_nothing_to_learn():
    straight = Straight(torch.ones_like)
    latents, ids, mask, _, noise = samples(0)
    loss = distil.distil_loss(straight, straight, latents, ids, mask, noise,
                              (ids[:1], mask[:1]), np.random.default_rng(0))
    assert loss < 1e-8


def test_guidance_leads_away_from_the_empty_caption():
    prompt, empty = torch.full((2, 1, 1), 5.), torch.full((2, 1, 1), 4.)
    got = distil.guided_velocity(Straight(torch.ones_like), torch.zeros(2, 3, 5),
                                 torch.ones(2), prompt, empty)
    assert torch.equal(got, torch.full((2, 3, 5), 4 + distil.GUIDANCE))


def test_muon_steps_are_orthogonal_and_descend():
    generator = torch.Generator().manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(64, 96, generator=generator)))
    assert .6 < values.min() and values.max() < 1.3
    matrix = torch.nn.Parameter(torch.zeros(32, 16))
    target = torch.randn(32, 16, generator=generator)
    optimiser = Muon([matrix], 5e-2)
    losses = []
    for _ in range(60):
        loss = F.mse_loss(matrix, target)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < .8 * losses[0]
