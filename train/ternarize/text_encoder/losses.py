"""How far the student's rows are from the teacher's, and how much each of their parts counts.

Rows differ in size by orders of magnitude, the first of a text most of all, so each counts by its
own relative error. Letters: B texts, L tokens, T taps, D width.
"""

from dataclasses import dataclass

import torch

from train.ternarize.losses import compared, features

SMALLEST = 1e-12


@dataclass(frozen=True)
class Weights:
    """channels: of the squared errors, f32 [T, D] or 1; padding: what a row of it counts, a text's

    own ones counting 1.
    """

    channels: torch.Tensor | float = 1.0
    padding: float = 1.0


EVEN = Weights()


def row_errors(got, want, batch, weights=EVEN):
    """Mean relative squared error of the rows that are read: f32 [B, L, T, D] each -> [B]."""
    error = (weights.channels * (got - want).square()).sum(-1)
    size = (weights.channels * want.square()).sum(-1)
    each = (error / size.clamp(min=SMALLEST)).mean(-1)
    counts = torch.where(batch.own, 1.0, weights.padding) * batch.read
    return (each * counts).sum(1) / counts.sum(1)


def distances(run, batch, with_features):
    """Row error and mean error of the blocks' rows, each f32 [B]; zeros without.

    Blocks are compared only where both encoders are one and the same.
    """
    student, teacher = run.student.transformer, run.teacher
    with_features = with_features and run.original is teacher
    blocks = [compared(run.family, each) if with_features else [] for each in (student, teacher)]
    with torch.no_grad(), features(run.family, blocks[1]) as wanted_features:
        wanted = run.compute(teacher, batch)
    with features(run.family, blocks[0]) as got_features:
        got = run.compute(student, batch)
    error = row_errors(got, wanted, batch, run.weights)
    if not with_features:
        return error, torch.zeros_like(error)
    errors = [row_errors(one.float()[:, :, None], other.float()[:, :, None], batch)
              for one, other in zip(got_features, wanted_features, strict=True)]
    return error, torch.stack(errors).mean(0)
