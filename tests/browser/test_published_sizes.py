"""Pictures of the published shapes as a page rehearses them: GPU memory, and work."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.fullscale.flux2 import FLUX2
from tests.fullscale.hollow import hollow_model, manifest_of
from tests.fullscale.layouts import write
from tests.fullscale.model import Model
from tests.fullscale.rehearsing import Rehearsals
from tests.fullscale.sana import SANA, SPRINT

MOST = {  # (side, memory) -> bytes
    (512, "auto"): 0.75e9, (1024, "auto"): 1.6e9, (1024, "small"): 1.0e9, (2048, "auto"): 2.6e9,
}
SIDES = {"SanaPipeline": (512, 1024, 2048), "SanaSprintPipeline": (1024,)}  # its own the first
MOST_APART = 0.1  # of the estimate before a download
TEXT = 300


@pytest.fixture(scope="module", params=[SANA, SPRINT], ids=["clark air", "sprint"])
def opened(request, tmp_path_factory):
    """(Model of export/, shapes), with a small tokenizer: the rest is there in name and shape."""
    folder = tmp_path_factory.mktemp("hollow")
    family = replace(request.param, tokenizers={
        name: lambda folder, scale, write=write: write(folder, "tiny")
        for name, write in request.param.tokenizers.items()})
    model = Model("full", "ternary", family, hollow=True)
    write(model, "mlx", folder)
    return hollow_model(folder), model


@pytest.fixture(scope="module")
def rehearsals(browsers):
    with Rehearsals(browsers()) as rehearsals:
        yield rehearsals


def test_memory(opened, rehearsals):
    model, _ = opened
    manifest = manifest_of(model)
    sides = SIDES[model.pipeline_class]
    assert model.call.width == sides[0]
    for (side, memory), most in MOST.items():
        if side not in sides:
            continue
        planned = rehearsals.plan(manifest, side, side, memory)["peakBytes"]
        print(f"{side} x {side}, {memory}: {planned:,}")
        assert planned <= most, (side, memory)
        if memory == "auto":
            assert abs(model.peak_gpu_bytes((side, side)) / planned - 1) <= MOST_APART, side


def test_work(opened, rehearsals):
    """What torch counts of diffusers' own classes, which have products alone in mind."""
    model, shapes = opened
    work = rehearsals.work(manifest_of(model), 512, 512, steps=1)["stages"]
    halves = 2 if model.call.guidance.kind == "cfg" else 1
    denoiser, decoder = flop_of(shapes)
    assert abs(model.step_flop((512, 512)) / work["step"]["flop"] - 1) <= MOST_APART
    print({stage: f"{each['flop']:.3e}" for stage, each in work.items()}, denoiser, decoder)
    assert halves * denoiser <= work["denoise"]["flop"] <= 1.03 * halves * denoiser
    assert decoder <= work["decode"]["flop"] <= 1.03 * decoder


def test_the_work_of_a_step_of_klein(tmp_path, rehearsals):
    write(Model("full", "ternary", FLUX2, hollow=True), "mlx", tmp_path)
    model = hollow_model(tmp_path)
    for side in (512, 1024):
        work = rehearsals.work(manifest_of(model), side, side, steps=1)["stages"]
        assert abs(model.step_flop((side, side)) / work["step"]["flop"] - 1) <= MOST_APART, side


@torch.no_grad()
def flop_of(shapes):
    """Of the denoiser, for 16 x 16 latents and a text of TEXT tokens, and of the decoder."""
    with torch.device("meta"):
        modules = shapes.family.modules(shapes.family.configs["full"])
        latents = torch.empty(1, 32, 16, 16)
        text, time = torch.empty(1, TEXT, 2304), torch.empty(1)
        told = {"guidance": time} if modules["transformer"].config.guidance_embeds else {}
        counts = []
        for run in (lambda: modules["transformer"](latents, text, time, **told),
                    lambda: modules["vae"].decoder(latents)):
            with FlopCounterMode(display=False) as counter:
                run()
            counts.append(counter.get_total_flops())
    return counts
