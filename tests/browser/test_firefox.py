"""Pictures in Firefox: another shader compiler (naga), and a software adapter that has f16."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from tests.browser import firefox
from tests.closeness import psnr
from tests.reference import reference

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
REQUESTS = {
    "garden": {"prompt": "a red maple bonsai in a round blue pot at night, snow falling", "seed": 4,
               "width": 128, "height": 128, "steps": 4},
    "uneven": {"prompt": "雪中的一棵小松树 🌲", "seed": 3, "width": 96, "height": 64, "steps": 4},
}
LEAST_PSNR = {"f32": 50.0, "f16": 40.0, "int8": 30.0}
DRAW = """async (url) => {
  const { loadPipeline } = await import(new URL('trefoil.js', url));
  const drawn = {};
  for (const precision of %s) {
    const pipe = await loadPipeline(new URL('model/manifest.json', url),
      { precision, storage: 'memory' });
    const { rgba } = await pipe.generate(%s);
    let bytes = '';
    for (const byte of rgba) bytes += String.fromCharCode(byte);
    drawn[precision] = { rgba: btoa(bytes), kernels: pipe.info.kernels };
    pipe.destroy();
  }
  return drawn;
}"""


@pytest.mark.parametrize("name", REQUESTS)
def test_every_precision_is_as_close_to_diffusers_as_it_should_be(name, site, made, tmp_path):
    folder = GARDEN if name == "garden" else made(name)
    request = REQUESTS[name]
    script = DRAW % (json.dumps([*LEAST_PSNR]), json.dumps(request))
    drawn = firefox.run(site(folder), script, tmp_path)
    want = reference(folder, **request)["picture"]
    for precision, least in LEAST_PSNR.items():
        rgba = np.frombuffer(base64.b64decode(drawn[precision]["rgba"]), np.uint8)
        got = rgba.reshape(request["height"], request["width"], 4)[..., :3]
        ratio = psnr(got, want)
        print(f"{name}, {precision}: {ratio:.1f} dB")
        assert ratio >= least, f"{precision}: PSNR {ratio:.1f} dB, at least {least} expected"
        assert precision in {row["precision"] for row in drawn[precision]["kernels"]}


STUDIO = """async (url) => {
  const frame = document.createElement('iframe');
  frame.width = 1000;
  frame.height = 900;
  frame.src = new URL('index.html?prompt=a+pine&seed=7&width=64&height=48&steps=1&run', url);
  document.body.append(frame);
  const until = async (find) => {
    for (let tries = 0; tries < 600; tries++) {
      const found = find(frame.contentDocument);
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`after two minutes the page says: ${frame.contentDocument.body.innerText}`);
  };
  const picture = await until((page) => page.querySelector('#picture:not([hidden])'));
  await picture.decode();
  await until((page) => page.getElementById('gallery-count').textContent === '1 picture');
  const { naturalWidth: width, naturalHeight: height, alt } = picture;
  const text = (id) => frame.contentDocument.getElementById(id).textContent;
  const { storedBytes } = await import(new URL('trefoil.js', url));
  return { alt, width, height, facts: text('facts'), alert: text('alert-text'),
    stored: await storedBytes(), lost: frame.contentDocument.body.dataset.phase };
}"""


def test_studio_draws_keeps_the_picture_and_the_model(site, tmp_path):
    seen = firefox.run(site(GARDEN), STUDIO, tmp_path)
    assert seen["alt"] == "a pine" and [seen["width"], seen["height"]] == [64, 48]
    assert seen["facts"] == "Seed 7 · 64 × 48 · 1 step"
    assert seen["alert"] == "" and seen["lost"] == "ready"
    assert seen["stored"]["kind"] == "opfs" and seen["stored"]["bytes"] > 4e6


DESTROY = """async (url) => {
  const { loadPipeline } = await import(new URL('trefoil.js', url));
  const open = () => loadPipeline(new URL('model/manifest.json', url), { storage: 'memory' });
  const name = (work) => work.then(() => 'drawn', (error) => error.name);
  const request = { prompt: 'a pine', seed: 7, width: 64, height: 48, steps: 2 };
  const outcomes = {};
  for (const at of ['encode', 'denoise', 'decode']) {
    const pipe = await open();
    const onProgress = ({ stage }) => { if (stage === at) pipe.destroy(); };
    outcomes[at] = await name(pipe.generate(request, { onProgress }));
    pipe.destroy();
    outcomes.after = await name(pipe.generate(request));
  }
  const pipe = await open();
  outcomes.another = await name(pipe.generate(request));
  return outcomes;
}"""


def test_a_pipeline_that_is_destroyed_while_it_draws_aborts(site, tmp_path):
    assert firefox.run(site(GARDEN), DESTROY, tmp_path) == {
        "encode": "AbortError", "denoise": "AbortError", "decode": "AbortError",
        "after": "InputError", "another": "drawn"}
