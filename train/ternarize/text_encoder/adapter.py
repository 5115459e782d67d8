"""A linear from a smaller encoder's rows to those that the denoiser was taught to read.

It has no bias and is no part of the site: when the folder is written it is multiplied into the
first linear of the denoiser that takes the rows, which then reads the smaller encoder's own.
"""

import torch
from safetensors.torch import load_file
from torch import nn

from export.errors import ExportError
from export.source import files
from export.source.configuration import read_json
from train.ternarize import processes
from train.ternarize.files import save_tensors, write_json

NAME = "adapter.weight"
TAPS = "text_encoder_out_layers"
# By family: the denoiser's linear that takes the rows, and its inputs in config.json.
READERS = {
    "flux2": ("context_embedder.weight", "joint_attention_dim"),
    "sana": ("caption_projection.linear_1.weight", "caption_channels"),
    "flux1": ("context_embedder.weight", "joint_attention_dim"),
}
FIRST_FIT = 256      # texts that the first least squares are of
RIDGE = 1e-6         # of the mean square of the rows, for those that depend on each other


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


def fold(out, denoiser, family, encoder, adapter):
    """Multiplies the adapter, [rows, columns], into a written folder's denoiser.

    denoiser: its folder in `out`; encoder: the student's. Raises ExportError.
    """
    name, key = READERS[family]
    for path in sorted(denoiser.glob("*.safetensors")):
        tensors = load_file(path)
        if name in tensors:
            break
    else:
        raise ExportError(
            f"{denoiser.name}: holds no {name}, into which the adapter of --student-encoder would "
            "be folded; name a --denoiser in diffusers' or MLX's layout"
        )
    weight = tensors[name]
    if not weight.is_floating_point() or weight.shape[1] != len(adapter):
        raise ExportError(
            f"{denoiser.name}: {name} is {weight.dtype} {list(weight.shape)}, expected floats with "
            f"{len(adapter)} inputs, so that the adapter of --student-encoder can be folded into it"
        )
    tensors[name] = (weight.float() @ adapter.float()).to(weight.dtype)
    save_tensors(path, tensors)
    config = denoiser / "config.json"
    write_json(config, read_json(config) | {key: adapter.shape[1]})
    if hasattr(encoder.config, "taps"):
        call = out / files.CALL
        given = read_json(call) if call.exists() else {}
        write_json(call, given | {TAPS: list(encoder.taps)})
