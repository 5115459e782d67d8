"""What the dry run and the page's list of sizes expect of GPU memory, against what the page counts.

Python's estimate and `pipe.plan()` are twins: the first is told before anything is downloaded.
"""

from pathlib import Path

import pytest

from export.opening import open_model
from export.packing import memory
from export.packing.pack import plan_model
from export.report import LARGEST_IMAGE
from export.source.find import Source
from tests.checkpoints import SHAPES

MODELS = Path(__file__).resolve().parents[2] / "models"
MOST_APART = 0.1
# Beside the offered ones, where one component is there at a time: so small that the denoiser may
# need more than the decoder.
SMALL = [(64, 64), (128, 64)]

# What pipe.plan() asks, with kernels that are read and not compiled.
REHEARSED = """
async ([address, memoryBudget, drawings]) => {
  const module = (path) => import(new URL(path, library.code));
  const [{ Kernels }, { KERNELS }, { Allocator }, { Ops }] = await Promise.all(
    ['kernels', 'selfcheck', 'memory', 'ops'].map((name) => module(`engine/${name}.js`)));
  const { Rehearsals, ownPicture } = await module('api/rehearsals.js');
  const { familyOf } = await module('models/families.js');
  const { fetchManifest } = await module('loader/manifest.js');
  const { fetchText } = await module('loader/fetching.js');
  const kernels = new Kernels(null, new URL('wgsl/', library.code), fetchText);
  await kernels.load(KERNELS);
  const graphics = { rehearsal: () => new Ops({ device: null, kernels,
    allocator: new Allocator(null, 2 ** 30) }) };
  const manifest = await fetchManifest(new URL(address), {});
  const rehearsals = new Rehearsals(manifest, familyOf(manifest), graphics,
    { memoryBudget, memory: 'auto' });
  const peaks = [];
  for (const drawing of drawings) {
    peaks.push((await rehearsals.of({ ...ownPicture(manifest), ...drawing })).peakBytes);
  }
  return peaks;
}
"""


def planned(folder):
    model = open_model(Source(folder, "model", {}), with_image_input=True)
    plan_model(model, lambda component: None)
    return model


@pytest.mark.parametrize("name", ["garden-ternary", "garden-binary", *SHAPES])
def test_the_estimate_is_what_the_page_plans(gathered, site, made, monkeypatch, name):
    """All weights kept, without reference images and with; and a component at a time."""
    folder = MODELS / name if name.startswith("garden") else made(name)
    model = planned(folder)
    offered = [tuple(size) for size in model.call.sizes]
    images = model.call.image_input["most"] * [LARGEST_IMAGE]
    apart = {}
    library, manifest = gathered(site(folder, with_image_input=True))
    kept = [(size, given) for size in offered for given in ([], images)]
    library.load(manifest, precision="f32", memoryBudget=memory.MEMORY_BUDGET)
    told = [planned_by(library, *case) for case in kept]
    alone = [(size, []) for size in offered + SMALL]
    for budget, cases in ((memory.MEMORY_BUDGET, kept), (0, alone)):
        counted = library.page.evaluate(
            REHEARSED, [library.url + manifest, budget, [drawing(*case) for case in cases]])
        assert not budget or counted == told, "it is what is planned without a device"
        monkeypatch.setattr(memory, "MEMORY_BUDGET", budget)
        for (size, given), peak in zip(cases, counted, strict=True):
            apart[budget, size, len(given)] = model.peak_gpu_bytes(size, given) / peak - 1
    assert len(apart) >= 5
    assert {case: part for case, part in apart.items() if abs(part) > MOST_APART} == {}


def drawing(size, images):
    width, height = size
    images = [{"width": across, "height": down} for across, down in images]
    return {"width": width, "height": height, "images": images}


def planned_by(library, size, images):
    return library.plan(**drawing(size, images))["peakBytes"]


def test_the_estimate_of_flux1(gathered, site, once, monkeypatch):
    """With texts of different lengths for its two encoders."""
    from tests.flux1_checkpoints import make_flux1

    folder = once(("flux1", "dev-ternary"), lambda folder: make_flux1(folder, "dev"))
    model = open_model(Source(folder, "model", {}))
    plan_model(model, lambda component: None)
    library, manifest = gathered(site(folder))
    sizes = [*SMALL, (512, 512)]
    for budget in (memory.MEMORY_BUDGET, 0):
        counted = library.page.evaluate(
            REHEARSED, [library.url + manifest, budget, [drawing(size, []) for size in sizes]])
        monkeypatch.setattr(memory, "MEMORY_BUDGET", budget)
        for size, peak in zip(sizes, counted, strict=True):
            assert abs(model.peak_gpu_bytes(size) / peak - 1) <= MOST_APART, (budget, size)
