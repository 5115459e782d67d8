"""Figures of a student: its agreement with the teacher by sigma, and its weights by layer."""

import math
from itertools import product

import numpy as np
import torch

from train.ternarize import processes
from train.ternarize.losses import cosine, relative_error
from train.ternarize.states import Batch

SIGMAS = (0.98, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1)  # of the re-noised held-out states
NOISE_STREAM = 9


@torch.no_grad()
def held_out(run, rows):
    """Velocity cosine and relative error by sigma on held-out trajectories.

    rows: numbers of the trajectories. Returns {states, sigma, cosine, error} dicts, the teacher's
    own states first; with classifier-free guidance means over both branches. The student must be
    loaded.
    """
    points = [("trajectory", i, float(s)) for i, s in enumerate(run.family.sigmas[:-1])]
    points += [("re-noised", None, sigma) for sigma in SIGMAS]
    sums = torch.zeros(len(points), 3, dtype=torch.float64)
    size, processes_count = run.settings.micro_batch, processes.count()
    branches = (False, True) if run.family.negative_prompt is not None else (False,)
    for first in range(0, len(rows), size * processes_count):
        at = first + processes.rank() * size
        own = [(rows[min(i, len(rows) - 1)], i < len(rows)) for i in range(at, at + size)]
        counts = torch.tensor([float(real) for _, real in own], dtype=torch.float64)
        for (place, (_, step, sigma)), negative in product(enumerate(points), branches):
            batch = held_out_batch(run, [row for row, _ in own], step, sigma, negative)
            wanted = run.family.velocity(run.teacher, *batch.inputs(teacher=True))
            got = run.family.velocity(run.student.transformer, *batch.inputs())
            for column, figure in enumerate((cosine(got, wanted), relative_error(got, wanted))):
                sums[place, column] += (figure.double().cpu() * counts).sum()
            sums[place, 2] += counts.sum()
    sums = processes.total(sums.to(run.device)).cpu()
    return [
        {"states": kind, "sigma": round(sigma, 4), "cosine": cosines / n, "error": errors / n}
        for (kind, _, sigma), (cosines, errors, n) in zip(points, sums.tolist(), strict=True)
    ]


def held_out_batch(run, rows, step, sigma, negative):
    """States of the rows after `step` steps of the teacher, or re-noised to sigma; negative: read

    with the negative prompt.
    """
    if step is not None:
        states = run.trajectories.state(rows, step)
    else:
        seeds = ((run.settings.seed, NOISE_STREAM, row) for row in rows)
        shape = run.family.state_shape
        noise = np.stack([np.random.default_rng(s).standard_normal(shape, np.float32)
                          for s in seeds])
        x0 = run.trajectories.state(rows, -1)
        states = (1 - sigma) * x0 + sigma * torch.from_numpy(noise).to(x0)
    sigmas = torch.full((len(rows),), sigma, device=states.device)
    contexts = (run.trajectories.context(rows, teacher, negative) for teacher in (False, True))
    return Batch(states, sigmas, *contexts)


@torch.no_grad()
def layers(student, teacher, reference):
    """name -> {snr, zeros, flips, count} of each low-bit weight as the student is loaded now.

    snr: of the weight against the teacher's, in dB; None where they are equal. zeros: share of zero
    values. flips: share of values that differ from `reference`, name -> int8; None where it is {}.
    """
    wanted = dict(teacher.named_parameters())
    sums = torch.zeros(len(student.scales), 5, dtype=torch.float64)
    for row, (name, values) in enumerate(student.values.items()):
        weight = processes.local(wanted[name]).double()
        noise = (weight - processes.local(student.parameters[name]).double()).square().sum()
        flips = (values.cpu() != reference[name]).sum() if reference else torch.zeros(())
        counted = (weight.square().sum(), noise, (values == 0).sum(), flips)
        sums[row, :4] = torch.stack([figure.double().cpu() for figure in counted])
        sums[row, 4] = values.numel()
    sums = processes.total(sums.to(weight.device)).cpu()
    figures = {}
    for name, row in zip(student.values, sums.tolist(), strict=True):
        signal, noise, zeros, flips, count = row
        snr = 10 * math.log10(signal / noise) if noise and signal else None
        figures[name] = {"snr": snr, "zeros": zeros / count, "count": int(count),
                         "flips": flips / count if reference else None}
    return figures


def summary(layers, points):
    """One line of a stage: means over layers by their weights, and over held-out points."""
    layers = layers.values()
    count = sum(layer["count"] for layer in layers)
    counted = any(layer["flips"] is not None for layer in layers)
    flips = sum((layer["flips"] or 0) * layer["count"] for layer in layers) / count
    decibels = [layer["snr"] for layer in layers if layer["snr"] is not None]
    return {
        "zeros": sum(layer["zeros"] * layer["count"] for layer in layers) / count,
        "flips": flips if counted else None,
        "snr": sum(decibels) / len(decibels) if decibels else None,
        "cosine": sum(point["cosine"] for point in points) / len(points),
        "error": sum(point["error"] for point in points) / len(points),
    }
