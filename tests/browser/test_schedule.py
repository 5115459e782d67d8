"""Sigmas: diffusers' own to the last bit, because one bit of a sigma turns the time embedding's
fastest waves by 1e-4 radians, which is most of what a picture would differ by."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu, retrieve_timesteps

from export.samplers import flow_euler
from tests.browser.library import Library
from tests.checkpoints import scheduler

WEB = Path(__file__).resolve().parents[2] / "web"
STEPS = range(1, 51)
# 1 token; 48x48 to 512x512; both sides of 4300, where the shift changes its formula; 1280x1280
TOKENS = [1, 9, 48, 256, 1014, 1024, 2304, 4096, 4300, 4301, 6400]
SCHEDULES = """async ([url, config, tokens, steps]) => {
  const { FlowEuler } = await import(new URL('models/samplers/flow_euler.js', url));
  const { timestepOf } = await import(new URL('models/denoisers/flux2_tables.js', url));
  return steps.map((n) => {
    const { sigmas, times } = new FlowEuler({ shift: 'empirical', config }, { steps: n, tokens });
    return { sigmas: [...sigmas], times, timesteps: times.map(timestepOf) };
  });
}"""


@pytest.fixture(scope="module")
def schedules(server, browser):
    """schedules(tokens) -> [{sigmas, times, timesteps}] for every number of steps."""
    url = server(WEB)
    with Library(browser, url) as library:
        yield lambda tokens: library.page.evaluate(
            SCHEDULES, [url, dict(scheduler().config), tokens, list(STEPS)])


@pytest.mark.parametrize("tokens", TOKENS)
def test_sigmas_are_diffusers(schedules, tokens):
    config = dict(scheduler().config)
    for steps, got in zip(STEPS, schedules(tokens), strict=True):
        want = scheduler()
        retrieve_timesteps(want, steps, sigmas=np.linspace(1.0, 1 / steps, steps),
                           mu=compute_empirical_mu(tokens, steps))
        sigmas = np.array(got["sigmas"], np.float32)
        np.testing.assert_array_equal(sigmas, want.sigmas.numpy(), err_msg=f"{steps} steps")
        times = np.array(got["times"], np.float32)
        np.testing.assert_array_equal(times, want.timesteps.numpy(), err_msg=f"{steps} steps")
        fed = (want.timesteps / 1000) * torch.tensor(1000.0)  # what the transformer makes of it
        timesteps = np.array(got["timesteps"], np.float32)
        np.testing.assert_array_equal(timesteps, fed.numpy(), err_msg=f"{steps} steps")
        np.testing.assert_array_equal(flow_euler.sigmas(steps, tokens, config), sigmas)
        np.testing.assert_array_equal(flow_euler.times(steps, tokens, config), timesteps)
