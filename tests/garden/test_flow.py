import numpy as np
import pytest
import torch

from export.garden import flow
from export.garden.checkpoint import load_latest, save
from export.garden.denoiser import Networks, Rounding, flow_loss, softness_at


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """A run of one process has nobody to average with."""
    monkeypatch.setattr(flow, "average_gradients", lambda parameters: None)
    torch.set_num_threads(1)


def samples(seed):
    rng = np.random.default_rng(seed)
    latents, noise = (torch.from_numpy(rng.standard_normal((2, 64, 64), np.float32))
                      for _ in range(2))
    ids = torch.from_numpy(rng.integers(3, 800, (2, 32)))
    return latents, ids, torch.ones_like(ids), torch.tensor([.9, .6]), noise


def fresh():
    torch.manual_seed(0)
    networks = Networks()
    return networks, networks.parameters()


def advance(run, rounding, networks, parameters, steps):
    for _ in range(steps):
        rounding.load(parameters, run.masters, run.step, .7)
        flow_loss(networks, *samples(run.step)).backward()
        run.update(parameters, .7)


def test_a_resumed_run_continues_as_if_never_stopped(tmp_path):
    networks, parameters = fresh()
    run = flow.Run(parameters)
    advance(run, Rounding(), networks, parameters, 1)
    save(tmp_path, "denoiser", run.state())
    advance(run, Rounding(), networks, parameters, 1)

    networks, parameters = fresh()
    resumed = flow.Run(parameters)
    resumed.restore(load_latest(tmp_path, "denoiser"))
    assert resumed.step == 1
    advance(resumed, Rounding(), networks, parameters, 1)
    for name, master in run.masters.items():
        assert torch.equal(master, resumed.masters[name]), name
        assert torch.equal(run.average[name], resumed.average[name]), name


def test_gradients_pass_straight_through_to_the_masters():
    networks, parameters = fresh()
    run = flow.Run(parameters)
    advance(run, Rounding(), networks, parameters, 2)
    name = "transformer.single_transformer_blocks.0.attn.to_out.weight"
    before = run.masters[name].detach().clone()
    advance(run, Rounding(), networks, parameters, 1)
    assert (run.masters[name] != before).float().mean() > .9
    Rounding().load(parameters, run.masters, 0, 1.0)
    groups = parameters[name].detach().reshape(-1, 128)
    assert all(len(group.abs().unique()) <= 2 for group in groups[:200])


def test_nothing_saved_means_nothing_loaded(tmp_path):
    assert load_latest(tmp_path, "denoiser") is None


def test_schedule_goes_from_float_to_ternary():
    assert softness_at(0) == 1 and softness_at(1) == 0
    values = [softness_at(f / 100) for f in range(101)]
    assert values == sorted(values, reverse=True)
    rates = [flow.rate_at(f) for f in (0, .01, .3, .9, 1)]
    assert rates[0] == 0 and rates[2] == 1 and rates[1] < 1 and 0 < rates[4] < rates[3] < 1
