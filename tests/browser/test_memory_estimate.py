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
from tests.browser.library import Library
from tests.checkpoints import SHAPES, make_checkpoint

MODELS = Path(__file__).resolve().parents[2] / "models"
MOST_APART = 0.1
# Beside the offered ones, where one component is there at a time: so small that the denoiser may
# need more than the decoder.
SMALL = [(64, 64), (128, 64)]


def checkpoint(name, folder):
    return MODELS / name if name.startswith("garden") else make_checkpoint(folder / name, name)


def planned(folder):
    model = open_model(Source(folder, "model", {}), with_image_input=True)
    plan_model(model, lambda component: None)
    return model


@pytest.mark.parametrize("name", ["garden-ternary", "garden-binary", *SHAPES])
def test_the_estimate_is_what_the_page_plans(browser, site, server, tmp_path, monkeypatch, name):
    """All weights kept, without reference images and with; and a component at a time."""
    folder = checkpoint(name, tmp_path)
    model = planned(folder)
    offered = [tuple(size) for size in model.call.sizes]
    images = model.call.image_input["most"] * [LARGEST_IMAGE]
    apart = {}
    with Library(browser, server(site(folder, with_image_input=True))) as library:
        for budget, cases in (
            (memory.MEMORY_BUDGET, [(size, with_) for size in offered for with_ in ([], images)]),
            (0, [(size, []) for size in offered + SMALL]),
        ):
            monkeypatch.setattr(memory, "MEMORY_BUDGET", budget)
            library.load(precision="f32", memoryBudget=budget)
            for size, given in cases:
                counted = planned_by(library, size, given)
                apart[budget, size, len(given)] = model.peak_gpu_bytes(size, given) / counted - 1
    assert len(apart) >= 5
    assert {case: part for case, part in apart.items() if abs(part) > MOST_APART} == {}


def planned_by(library, size, images):
    width, height = size
    images = [{"width": across, "height": down} for across, down in images]
    return library.plan(width=width, height=height, images=images)["peakBytes"]
