"""Block-wise reconstruction: each block in turn learns to give the teacher's output.

Its inputs are what the student's blocks before it give, low-bit already, so that it also makes good
their errors; its targets are the teacher's outputs on the same states of the teacher's own
trajectories. Only one block's optimiser state exists at a time. A step takes one micro-batch of
each process.
"""

import numpy as np
import torch

from train.ternarize import processes
from train.ternarize.descent import BETAS, clip_gradients, rate_at
from train.ternarize.losses import relative_error
from train.ternarize.states import STAGE_NUMBER, TRAJECTORY, Sample, assemble


def reconstruct(run):
    """Fits the blocks from number run.step on; a checkpoint is written between two blocks."""
    reconstruct_on(run, calibration(run), run.teacher)


def reconstruct_on(run, batches, teacher):
    """Likewise, on these batches; teacher: the student's weights in full precision."""
    blocks = run.family.blocks(run.student.transformer)
    teacher_blocks = list(run.family.blocks(teacher).values())
    curve = run.record["curves"].setdefault("reconstruct", [])
    run.student.load()
    run.progress.begin("reconstruct", len(blocks), run.step)
    for number, (name, block) in list(enumerate(blocks.items()))[run.step :]:
        inputs = [recorded(run, run.student.transformer, block, batch)[0] for batch in batches]
        targets = [recorded(run, teacher, teacher_blocks[number], batch)[1]
                   for batch in batches]
        before, after = fit(run, name, block, inputs, targets)
        curve.append({"step": number, "block": name, "before": before, "after": after})
        run.step = number + 1
        run.progress.advance(run.step, after)
        run.save_when_due(dict)


def calibration(run):
    """Batches of teacher states, spread evenly over prompts and the schedule's steps."""
    settings, family = run.settings, run.family
    size, processes_count = settings.micro_batch, processes.count()
    each = -(-settings.reconstruct_samples // (size * processes_count)) * size  # whole batches
    random = np.random.default_rng((settings.seed, STAGE_NUMBER["reconstruct"]))
    rows = random.integers(run.trained_rows, size=each * processes_count)
    steps = np.arange(len(rows)) % (len(family.sigmas) - 1)
    samples = [Sample(TRAJECTORY, int(row), int(step), float(family.sigmas[step]))
               for row, step in zip(rows, steps, strict=True)]
    own = samples[processes.rank() :: processes_count]
    return [assemble(own[i : i + size], 0, family, run.trajectories, None)
            for i in range(0, len(own), size)]


@torch.no_grad()
def recorded(run, transformer, block, batch):
    """(arguments, output stream) of one block while the transformer computes a batch."""
    seen = []

    def keep(module, inputs, keywords, output):
        seen.append(((inputs, keywords), run.family.stream(output)))

    hook = block.register_forward_hook(keep, with_kwargs=True)
    run.compute(transformer, batch)
    hook.remove()
    return seen[0]


def fit(run, name, block, inputs, targets):
    """Trains one block's latent weights, scales and norms. Returns the mean error before, after.

    Where the straight-through steps did not help, the block stays as it was.
    """
    student, settings = run.student, run.settings
    names = [n for n in student.parameters if n.startswith(f"{name}.")]
    parameters = student.latents(names) + student.others(names)
    kept = [p.detach().clone() for p in parameters]
    before = mean_error(run, block, inputs, targets)
    optimiser = torch.optim.AdamW(parameters, betas=BETAS, weight_decay=0, foreach=True)
    for step in range(settings.reconstruct_steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.reconstruct_rate * rate_at(step, settings.reconstruct_steps)
        student.load(names=names)
        place = step % len(inputs)
        relative_error(call(run, block, inputs[place]), targets[place]).mean().backward()
        student.collect()
        clip_gradients(parameters)
        optimiser.step()
        optimiser.zero_grad()
        student.keep_scales_positive()
    student.load(names=names)
    after = mean_error(run, block, inputs, targets)
    if not after < before:
        with torch.no_grad():
            torch._foreach_copy_(parameters, kept)
        student.load(names=names)
    return before, min(before, after) if after == after else before


def call(run, block, arguments):
    positional, keywords = arguments
    return run.family.stream(block(*positional, **keywords))


@torch.no_grad()
def mean_error(run, block, inputs, targets):
    """Of the block's outputs over all processes' batches."""
    errors = [relative_error(call(run, block, i), t).mean()
              for i, t in zip(inputs, targets, strict=True)]
    total = processes.total(torch.stack(errors).double().sum())
    return total.item() / (len(errors) * processes.count())
