"""Pictures of small random Sana models in Chromium beside diffusers': prints a Markdown table.

    python -m tests.sana_table

Five shapes, ternary and binary, every sampler, 1 to 20 steps, with and without guidance: a minute
or two of one core.
"""

from tests.parity import Case, print_table
from tests.sana_checkpoints import SHAPES
from tests.sana_parity import NEGATIVE, Model, compare, make
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


def rows(model, folder, library):
    own = library.load()["pipeline"]
    for case in cases(model):
        result = compare(library.generate(tensors=True, **case.request()),
                         reference(folder, **case.reference()))
        guidance = own["guidance"]["scale"] if case.guidance is None else case.guidance
        negative = own.get("negative_prompt", "") if case.negative is None else case.negative
        yield (model.id, case.prompt, f"{case.width} x {case.height}",
               case.steps or own["num_inference_steps"], guidance, negative or "-",
               *(f"{result.errors[stage]:.1e}" for stage in STAGES), f"{result.psnr:.1f}")


if __name__ == "__main__":
    print_table(HEAD, models(), make, rows)
