"""The table of embeddings: not made low-bit, for its rows are read one by one, but 4 or 8 bits."""

from copy import deepcopy

import numpy as np
import torch

from export.layouts import Floats
from export.layouts.mlx_grid import sibling
from export.layouts.naming import strip_prefixes, take_tied
from export.packing.formats import unpack_words, widen_bf16
from export.source.safetensors import Checkpoint


def open_weights(encoder):
    """The Checkpoint of an encoder's folder, by the names of its specs."""
    tensors, module = Checkpoint(encoder.folder), encoder.kind.module
    strip_prefixes(tensors, module.ANCHORS)
    if module.PREFIX:
        tensors.strip_prefix(module.PREFIX)
    take_tied(tensors, getattr(module, "TIED", {}))
    return tensors


def packed_table(encoder, bits):
    """export's Packed of the table."""
    return Floats(open_weights(encoder), {encoder.table: encoder.specs[encoder.table]},
                  bits).pack(encoder.table)


@torch.no_grad()
def stored_table(encoder, table, bits):
    """A copy of the table's module, its weight as packed_parts stores it."""
    table = deepcopy(table)
    if bits < 16:
        packed = packed_table(encoder, bits)
        scales, biases = (widen_bf16(packed.parts[part]) for part in ("scales", "biases"))
        codes = unpack_words(packed.parts["codes"], bits).astype(np.float32)
        groups = codes.reshape(*scales.shape, packed.storage.group)
        weight = groups * scales[..., None] + biases[..., None]
        table.weight.copy_(torch.from_numpy(weight.reshape(packed.storage.shape)))
    return table


def table_parts(encoder, key, bits):
    """(stored tensors by name, what config.json says of the table); key: its name in the file."""
    if bits == 16:
        values = open_weights(encoder).read_finite(encoder.table).float32()
        return {key: torch.from_numpy(values.copy()).bfloat16()}, False
    packed = packed_table(encoder, bits)
    stored = {key: torch.from_numpy(packed.parts["codes"])}
    for part in ("scales", "biases"):
        bf16 = torch.from_numpy(packed.parts[part].astype(np.uint16)).view(torch.bfloat16)
        stored[sibling(key, part)] = bf16
    return stored, {"bits": bits, "group_size": packed.storage.group}
