"""Pictures of small random FLUX.1 models in Chromium beside diffusers': prints a Markdown table.

    python -m tests.flux1_table

Four shapes, ternary and binary, 1 to 28 steps, guidance from 0 to 7: a minute or two of one core.
"""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from build import main as build
from tests.browser.library import Library
from tests.conftest import WEBGPU, launch
from tests.flux1_checkpoints import SHAPES, make_flux1
from tests.flux1_parity import Case, Model, compare
from tests.flux1_reference import load_pipeline, reference
from tests.hosting import Host

STAGES = ("pooled", "rows", "velocity", "latents", "decoded")
HEAD = ("model", "prompt", "size", "steps", "guidance", *STAGES, "PSNR, dB")
SIZES = [(96, 64), (32, 64), (64, 64), (64, 32)]
PROMPTS = ("english", "chinese", "overlong", "empty")
STEPS = {True: (28, 1, 9, 4), False: (4, 1, 2, 3)}  # by whether guidance is embedded
GUIDANCE = (None, 7, 1, 0)


def cases(embedded):
    return [Case(prompt, *size, steps=steps, guidance=scale if embedded else None)
            for prompt, size, steps, scale in zip(PROMPTS, SIZES, STEPS[embedded], GUIDANCE,
                                                  strict=True)]


def rows(browser, folder, model):
    """A row for each picture of a model."""
    checkpoint, dist = folder / "model", folder / "dist"
    make_flux1(checkpoint, model.shape, model.variant)
    options = ["--model", str(checkpoint), "--out", str(dist), "--text-encoder-bits", "16"]
    with redirect_stdout(sys.stderr):  # the table alone is printed
        if build(options):
            sys.exit(f"{model.id}: no site")
    embedded = load_pipeline(checkpoint).transformer.config.guidance_embeds
    with Host(dist) as host, Library(browser, host.url) as library:
        own = library.load()["pipeline"]
        for case in cases(embedded):
            result = compare(library.generate(tensors=True, **case.request()),
                             reference(checkpoint, **case.reference()))
            guidance = own["guidance"]["scale"] if case.guidance is None else case.guidance
            yield (model.id, case.prompt, f"{case.width} x {case.height}", case.steps,
                   guidance if embedded else "-",
                   *(f"{result.errors[stage]:.1e}" for stage in STAGES), f"{result.psnr:.1f}")


def main():
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    models = [Model(shape, variant) for shape in SHAPES for variant in ("ternary", "binary")]
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = launch(playwright, WEBGPU)
        for model in models:
            for row in rows(browser, Path(folder) / model.id, model):
                print(f"| {' | '.join(map(str, row))} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
