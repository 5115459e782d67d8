"""Pictures of small random FLUX.1 models in Chromium beside diffusers': prints a Markdown table.

    python -m tests.flux1_table

Four shapes, ternary and binary, 1 to 28 steps, guidance from 0 to 7: a minute or two of one core.
"""

from tests.flux1_checkpoints import SHAPES
from tests.flux1_parity import Model, compare, make
from tests.flux1_reference import load_pipeline, reference
from tests.parity import Case, print_table

STAGES = ("pooled", "rows", "velocity", "latents", "decoded")
HEAD = ("model", "prompt", "size", "steps", "guidance", *STAGES, "PSNR, dB")
SIZES = [(96, 64), (32, 64), (64, 64), (64, 32)]
PROMPTS = ("english", "chinese", "overlong", "empty")
STEPS = {True: (28, 1, 9, 4), False: (4, 1, 2, 3)}  # by whether guidance is embedded
GUIDANCE = (None, 7, 1, 0)


def models():
    return [Model(shape, variant) for shape in SHAPES for variant in ("ternary", "binary")]


def cases(embedded):
    return [Case(prompt, *size, steps=steps, guidance=scale if embedded else None)
            for prompt, size, steps, scale in zip(PROMPTS, SIZES, STEPS[embedded], GUIDANCE,
                                                  strict=True)]


def rows(model, folder, library):
    embedded = load_pipeline(folder).transformer.config.guidance_embeds
    own = library.load()["pipeline"]
    for case in cases(embedded):
        result = compare(library.generate(tensors=True, **case.request()),
                         reference(folder, **case.reference()))
        guidance = own["guidance"]["scale"] if case.guidance is None else case.guidance
        yield (model.id, case.prompt, f"{case.width} x {case.height}", case.steps,
               guidance if embedded else "-",
               *(f"{result.errors[stage]:.1e}" for stage in STAGES), f"{result.psnr:.1f}")


if __name__ == "__main__":
    print_table(HEAD, models(), make, rows)
