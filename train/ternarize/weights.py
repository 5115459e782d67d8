"""A teacher's weights: which they are, and whether they can teach."""

import hashlib
from pathlib import Path

from export.errors import ExportError
from export.packing.formats import GROUP_STEP

SAMPLED_BYTES = 1 << 20  # of the beginning and the end of each weight file


def fingerprint(folders, also=""):
    """A digest of the weight files' sizes and ends in some folders, and of a text."""
    digest = hashlib.sha256(also.encode())
    for folder in folders:
        for path in sorted(Path(folder).glob("*.safetensors")):
            with path.open("rb") as file:
                digest.update(file.read(SAMPLED_BYTES))
                file.seek(max(0, path.stat().st_size - SAMPLED_BYTES))
                digest.update(file.read())
            digest.update(str(path.stat().st_size).encode())
    return digest.hexdigest()


def refuse_not_finite(folder, weights):
    """weights: name -> tensor. Raises ExportError."""
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ExportError(f"{folder}: {name} holds NaN or infinity, expected finite weights; "
                              "download the teacher again")


def refuse_lowbit(folder, weights, names):
    """Refuses weights of which every 16 inputs have one magnitude, zeros apart."""
    for name in names:
        sizes = weights[name].abs().unflatten(-1, (-1, GROUP_STEP))
        on_grid = (sizes == 0) | (sizes == sizes.amax(-1, keepdim=True))
        if sizes.any() and on_grid.all():
            raise ExportError(f"{folder}: {name} is low-bit already, expected full-precision "
                              "weights; take the model that this one was made from")
