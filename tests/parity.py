"""A picture in the browser beside diffusers', stage by stage: cases, how far off, and a table."""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import sync_playwright

from build import main as build
from tests.browser.library import Library
from tests.closeness import psnr, relative_error
from tests.conftest import WEBGPU, launch
from tests.hosting import Host

PROMPTS = {
    "english": "An old Pine in the snow, it's late",
    "chinese": "雪中的一棵小松树，旁边有一只红狐狸",
    "empty": "",
    "overlong": "a quiet garden with a stone lantern and two juniper trees, " * 12,
}

# Relative L2 error against diffusers, f32 on both sides; a velocity's is mostly torch's own, of the
# time embedding's waves. Of 20 steps with guidance it grows by the scale, and with each step.
LIMITS = {"pooled": 2e-6, "rows": 2e-6, "velocity": 2e-5, "latents": 3e-5, "decoded": 3e-5}
NOISE_LIMIT = 1e-6  # absolute: torch's logarithm and sine differ by machine
LEAST_PSNR = 50.0   # dB


@dataclass(frozen=True)
class Case:
    """One picture of a model; what is None is left to the model."""

    prompt: str
    width: int
    height: int
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    seed: int = 3

    def request(self):
        """As the library takes it."""
        return self.given(steps="steps", guidance="guidanceScale", negative="negativePrompt")

    def reference(self):
        """As a family's reference takes it."""
        return self.given(steps="steps", guidance="guidance", negative="negative")

    def given(self, **names):
        values = {name: getattr(self, own) for own, name in names.items()}
        return {"prompt": PROMPTS[self.prompt], "seed": self.seed, "width": self.width,
                "height": self.height} | {
            name: value for name, value in values.items() if value is not None}


@dataclass
class Compared:
    """The largest relative error of each stage, and the picture's PSNR."""

    errors: dict = field(default_factory=dict)
    psnr: float = np.inf

    def add(self, stage, got, want):
        assert got.shape == want.shape, f"{stage}: shape {got.shape}, expected {want.shape}"
        kind = stage.split()[0]
        error = relative_error(got, want)
        assert error <= LIMITS[kind], f"{stage}: relative error {error:.1e} > {LIMITS[kind]:.0e}"
        self.errors[kind] = max(error, self.errors.get(kind, 0))


def compare(drawn, want, add_texts):
    """Every stage in the order of drawing, of what Library.generate and a reference made.

    add_texts(result, seen, want): of ids and rows, which families have each their own.
    """
    seen, result = drawn["seen"], Compared()
    add_texts(result, seen, want)
    np.testing.assert_allclose(seen["noise"], want["noise"], rtol=0, atol=NOISE_LIMIT)
    np.testing.assert_array_equal(seen["sigmas"], want["sigmas"], err_msg="sigmas")
    steps = len(want["velocity"])
    assert f"velocity.{steps}" not in seen, f"more than {steps} steps"
    for step, halves in enumerate(want["velocity"]):
        several = isinstance(halves, dict) and len(halves) > 1
        for half, velocity in (halves if isinstance(halves, dict) else {"": halves}).items():
            name = f"velocity.{step}.{half}" if several else f"velocity.{step}"
            result.add(f"velocity {step} {half}", seen[name], velocity)
    result.add("latents", seen["latents"], want["latents"])
    result.add("decoded", seen["decoded"], want["decoded"])
    assert (drawn["rgba"][..., 3] == 255).all()
    result.psnr = psnr(drawn["rgba"][..., :3], want["picture"])
    assert result.psnr >= LEAST_PSNR, f"PSNR {result.psnr:.1f} dB, at least {LEAST_PSNR} expected"
    return result


def print_table(head, models, make, row):
    """A Markdown table, printed as its pictures are drawn.

    make(folder, model) writes a checkpoint; row(model, folder, library) yields a row a picture.
    """
    print_row(head)
    print(f"|{' --- |' * len(head)}")
    with sync_playwright() as playwright, TemporaryDirectory() as scratch:
        browser = launch(playwright, WEBGPU)
        for model in models:
            folder, dist = (Path(scratch) / model.id / name for name in ("model", "dist"))
            make(folder, model)
            options = ["--model", str(folder), "--out", str(dist), "--text-encoder-bits", "16"]
            with redirect_stdout(sys.stderr):  # the table alone is printed
                if build(options):
                    sys.exit(f"{model.id}: no site")
            with Host(dist) as host, Library(browser, host.url) as library:
                for cells in row(model, folder, library):
                    print_row(cells)
        browser.close()


def print_row(cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
