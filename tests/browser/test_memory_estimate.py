"""What the dry run and the page's list of sizes expect of GPU memory, against what the page counts.

Python's estimate and `pipe.plan()` are twins: the first is told before anything is downloaded.
"""

from pathlib import Path

import pytest

from export.opening import open_model
from export.packing import memory
from export.packing.pack import plan_model
from export.source.find import Source
from tests.browser.library import Library
from tests.checkpoints import SHAPES, make_checkpoint

MODELS = Path(__file__).resolve().parents[2] / "models"
MOST_APART = 0.1
# Beside the offered ones: so small that not the decoder needs the most.
SMALL = [(64, 64), (128, 64)]


def checkpoint(name, folder):
    return MODELS / name if name.startswith("garden") else make_checkpoint(folder / name, name)


def planned(folder):
    model = open_model(Source(folder, "model", {}))
    plan_model(model, lambda component, parameters: None)
    return model


@pytest.mark.parametrize("name", ["garden-ternary", "garden-binary", *SHAPES])
def test_the_estimate_is_what_the_page_plans(browser, site, server, tmp_path, monkeypatch, name):
    """All weights kept, and, with no room for that, a component at a time."""
    folder = checkpoint(name, tmp_path)
    model = planned(folder)
    apart = {}
    with Library(browser, server(site(folder))) as library:
        for budget in (memory.MEMORY_BUDGET, 0):
            monkeypatch.setattr(memory, "MEMORY_BUDGET", budget)
            library.load(precision="f32", memoryBudget=budget)
            for width, height in (*map(tuple, model.call.sizes), *SMALL):
                counted = library.plan(width=width, height=height)["peakBytes"]
                expected = model.peak_gpu_bytes((width, height))
                apart[budget > 0, width, height] = expected / counted - 1
    assert len(apart) >= 6
    assert {case: part for case, part in apart.items() if abs(part) > MOST_APART} == {}
