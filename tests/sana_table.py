"""Pictures of small random Sana models in Chromium beside diffusers': prints a Markdown table.

    python -m tests.sana_table

Five shapes, ternary and binary, every sampler, 1 to 20 steps, with and without guidance: a minute
or two of one core.
"""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from build import main as build
from tests.browser.library import Library
from tests.conftest import WEBGPU, launch
from tests.hosting import Host
from tests.sana_checkpoints import SHAPES, make_sana
from tests.sana_parity import NEGATIVE, Case, Model, compare
from tests.sana_reference import reference

STAGES = ("rows", "velocity", "latents", "decoded")
SPRINT = [Case("english", 96, 64), Case("chinese", 64, 96, steps=1), Case("empty", 64, 64, steps=4),
          Case("overlong", 64, 64, guidance=2)]
HEAD = ("model", "prompt", "size", "steps", "guidance", "negative", *STAGES, "PSNR, dB")


def models():
    """Every shape, ternary by DPM-Solver++ and binary by flow Euler; Sprint by SCM."""
    for shape in SHAPES:
        for variant, scheduler in (("ternary", "dpm"), ("binary", "euler")):
            yield Model(shape, variant, None if shape == "sprint" else scheduler)


def cases(model):
    if model.shape == "sprint":
        return SPRINT
    most = 20 if model.shape in ("wide", "biased") else 4
    return [Case("english", 96, 64, steps=most), Case("chinese", 32, 64, steps=1),
            Case("overlong", 64, 64, steps=2, guidance=1),
            Case("empty", 64, 32, steps=3, negative=NEGATIVE)]


def rows(browser, folder, model):
    """A row for each picture of a model."""
    checkpoint, dist = folder / "model", folder / "dist"
    make_sana(checkpoint, model.shape, model.variant, model.scheduler)
    options = ["--model", str(checkpoint), "--out", str(dist), "--text-encoder-bits", "16"]
    with redirect_stdout(sys.stderr):  # the table alone is printed
        if build(options):
            sys.exit(f"{model.id}: no site")
    with Host(dist) as host, Library(browser, host.url) as library:
        own = library.load()["pipeline"]
        for case in cases(model):
            result = compare(library.generate(tensors=True, **case.request()),
                             reference(checkpoint, **case.reference()))
            guidance = own["guidance"]["scale"] if case.guidance is None else case.guidance
            negative = own.get("negative_prompt", "") if case.negative is None else case.negative
            yield (model.id, case.prompt, f"{case.width} x {case.height}",
                   case.steps or own["num_inference_steps"], guidance, negative or "-",
                   *(f"{result.errors[stage]:.1e}" for stage in STAGES), f"{result.psnr:.1f}")


def main():
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = launch(playwright, WEBGPU)
        for model in models():
            for row in rows(browser, Path(folder) / model.id, model):
                print(f"| {' | '.join(map(str, row))} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
