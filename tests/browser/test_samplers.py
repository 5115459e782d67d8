"""Chromium's own logarithms and cosines: noise and sigmas are torch's and diffusers' there too.

Every seed, count and schedule: tests/web/noise.test.js and schedule.test.js, under Node.js.
"""

from pathlib import Path

import numpy as np

from tests.browser.library import Library
from tests.web.golden_files import decode, read

WEB = Path(__file__).resolve().parents[2] / "web"
DRAW = """async ([url, { seed, count, every }, config]) => {
  const { TorchNoise } = await import(new URL('models/samplers/noise.js', url));
  const { FlowEuler } = await import(new URL('models/samplers/flow_euler.js', url));
  const sampler = new FlowEuler({ shift: 'empirical', config }, { steps: 4, tokens: 256 });
  const values = new TorchNoise(seed).normals(count);
  return { noise: [...values].filter((_, i) => i % every === 0), sigmas: [...sampler.sigmas] };
}"""


def test_noise_and_sigmas(browser, server):
    url = server(WEB)  # the sources themselves: these modules need no build
    schedule, normal = read("schedule"), max(read("noise")["normal"], key=lambda one: one["count"])
    with Library(browser, url) as library:
        asked = {key: normal[key] for key in ("seed", "count", "every")}
        got = library.page.evaluate(DRAW, [url, asked, schedule["config"]])
    np.testing.assert_allclose(got["noise"], decode(normal["values"]), rtol=0, atol=1e-6)
    assert got["sigmas"] == decode(schedule["of"]["256"]["sigmas"]["4"]).tolist()
