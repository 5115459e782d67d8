"""A linear from a smaller encoder's rows to those that the denoiser was taught to read.

It has no bias and is no part of the site: the first linear of the denoiser that takes the rows is
multiplied by it when the folder is written.
"""

import torch
from torch import nn

from train.ternarize import processes

NAME = "adapter.weight"
FIRST_FIT = 256       # texts that the first least squares are of
RIDGE = 1e-4          # of the mean square of the rows


def attach(module, encoder, wanted):
    """Gives the module an adapter. Returns its weights by name, zeros until they are fitted."""
    columns, rows = (len(each.taps) * each.width for each in (encoder, wanted))
    module.adapter = nn.Linear(columns, rows, bias=False)
    return {NAME: torch.zeros(rows, columns)}


@torch.no_grad()
def fit_adapter(run):
    """Sets the adapter to the least squares over the rows that are read of the first texts."""
    student, settings = run.student, run.settings
    module, wanted = student.transformer, run.opened.encoder
    columns = student.parameters[NAME].shape[1]
    squares = torch.zeros(columns, columns, dtype=torch.float64, device=run.device)
    products = squares.new_zeros(columns, len(wanted.taps) * wanted.width)
    count = min(FIRST_FIT, run.trained_rows)
    for first in range(0, count, settings.micro_batch):
        batch = run.batch(range(first, min(first + settings.micro_batch, count)))
        rows = run.family.rows(module, run.tables[module](batch.ids), batch.attended)
        own = rows.flatten(2)[batch.read].double()
        targets = run.compute(run.teacher, batch).flatten(2)[batch.read].double()
        squares += own.T @ own
        products += own.T @ targets
    squares.diagonal().add_(RIDGE * squares.diagonal().mean())
    solved = torch.linalg.solve(squares, products).T.float()
    student.masters[NAME].copy_(processes.local_part(solved, student.parameters[NAME]))
    student.load()
