"""The text encoders that can be made low-bit, as modules that compute rows from embedded tokens.

The table of embeddings stays apart: it is not trained, and stands before the module, rounded for
the student as its file holds it. Names of weights are those of the export's spec.

Letters: B texts, L tokens, D width; a tap is a hidden state that the denoiser reads.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import Gemma2Model, Qwen3Model, T5EncoderModel
from transformers.utils import logging

from export.errors import ExportError
from export.packing.spec import LINEAR, ROWS
from export.source.configuration import Configuration
from export.text_encoders import gemma2, qwen3, t5
from train.ternarize.losses import features
from train.ternarize.weights import refuse_lowbit, refuse_not_finite

USUAL_GROUP, SMALLEST_GROUP = 128, 32  # a binary row fills whole words of 32 inputs


@dataclass(frozen=True)
class Kind:
    """module: the export's; load: transformers' class; layers, norm: where they lie in it."""

    name: str
    module: Any
    load: Any
    layers: str
    norm: str
    keywords: tuple[str, ...]  # of config.json, the rates of dropout


KINDS = {
    qwen3.CLASS: Kind("Qwen3", qwen3, Qwen3Model, "layers", "norm", ("attention_dropout",)),
    gemma2.CLASS: Kind("Gemma 2", gemma2, Gemma2Model, "layers", "norm", ("attention_dropout",)),
    t5.CLASS: Kind("T5", t5, T5EncoderModel, "encoder.block", "encoder.final_layer_norm",
                   ("dropout_rate",)),
}


class Encoder:
    """One text encoder's folder: its sizes, its weights' names, and how it computes."""

    def __init__(self, folder, kind, config):
        """config: as the kind's export module reads it."""
        self.folder, self.kind, self.config = folder, kind, config
        self.specs = kind.module.spec(config)
        self.lowbit = [name for name, spec in self.specs.items() if spec.role == LINEAR]
        self.table = next(name for name, spec in self.specs.items() if spec.role == ROWS)
        self.group = widest_group(folder, {n: self.specs[n].shape[1] for n in self.lowbit})
        self.width = self.specs[self.table].shape[1]

    @classmethod
    def read(cls, folder, kind, taps=None):
        """The encoder of a folder of its own; taps: for a kind that has them."""
        file = Configuration.read(folder / "config.json")
        return cls(folder, kind, kind.module.read_config(file, *([taps] if taps else [])))

    @property
    def taps(self):
        """Numbers of hidden states, the last one where the kind has no others."""
        return getattr(self.config, "taps", (self.depth,))

    @property
    def depth(self):
        """Layers that are computed: those up to the last tap."""
        return getattr(self.config, "num_hidden_layers", None) or self.config.num_layers

    @property
    def total(self):
        """Layers that the folder holds."""
        return getattr(self.config, "total_hidden_layers", self.depth)

    def load(self):
        """(module f32 without a table, table module f32, name -> f32 tensor of the module).

        Raises ExportError for weights that cannot teach: not finite, or low-bit already.
        """
        logging.disable_progress_bar()
        logging.set_verbosity_error()  # that the table stands apart is no fault
        model = self.kind.load.from_pretrained(
            self.folder, dtype=torch.float32, **dict.fromkeys(self.kind.keywords, 0.0)
        )
        table = model.get_input_embeddings()
        self.cut(model)
        model.train().requires_grad_(True)  # without dropout, only checkpointing tells them apart
        weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        refuse_not_finite(self.folder, weights | {self.table: table.weight})
        refuse_lowbit(self.folder, weights, self.lowbit)
        return model, table.eval().requires_grad_(False), weights

    def cut(self, model):
        """Takes the table away, and all that no tap reads."""
        stem = model
        if self.kind.module is t5:
            model.shared, stem = None, model.encoder
        stem.embed_tokens = None
        if self.depth < self.total:  # the final norm is of the last layer alone
            stem.layers, stem.norm = stem.layers[: self.depth], nn.Identity()
            stem.config.num_hidden_layers = self.depth
            stem.config.layer_types = stem.config.layer_types[: self.depth]

    def blocks(self, module):
        """By name, in the order of use."""
        layers = module.get_submodule(self.kind.layers)
        return {f"{self.kind.layers}.{i}": layer for i, layer in enumerate(layers)}

    def units(self, module):
        """The modules whose parameters are gathered together."""
        return list(self.blocks(module).values())

    def stream(self, output):
        """A block's output as one tensor [B, L, D]."""
        return output[0] if isinstance(output, tuple) else output

    def rows(self, module, embedded, mask):
        """f32 [B, L, taps, D] of embedded tokens [B, L, D] and what attends, bool [B, L]."""
        keywords = {} if self.kind.module is t5 else {"use_cache": False}
        below = sorted({tap for tap in self.taps if 0 < tap < self.depth})
        blocks = list(self.blocks(module).values())
        with features(self, [blocks[tap - 1] for tap in below]) as seen:
            output = module(inputs_embeds=embedded, attention_mask=mask.long(), **keywords)
        states = {0: embedded, self.depth: output.last_hidden_state}
        states |= dict(zip(below, seen, strict=True))
        return torch.stack([states[tap].float() for tap in self.taps], 2)


def widest_group(folder, widths):
    """The widest group up to USUAL_GROUP that divides every width, name -> inputs."""
    group = math.gcd(USUAL_GROUP, *widths.values())
    if group < SMALLEST_GROUP:
        name = min(widths, key=lambda name: math.gcd(USUAL_GROUP, widths[name]))
        raise ExportError(f"{folder}: {name} has {widths[name]} inputs, expected a multiple of "
                          f"{SMALLEST_GROUP}, the fewest that share a scale")
    return group
