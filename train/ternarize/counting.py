"""A forward of the transformer on tensors without storage: its FLOP, and what training keeps of it.

torch counts the FLOP, and autograd says what it would keep.
"""

from dataclasses import dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from train.ternarize.run import DTYPES


@dataclass(frozen=True)
class Forward:
    """One micro-batch of the transformer: FLOP a sample, bytes that training keeps of it."""

    flop: float
    activation_bytes: int
    weights: int
    largest_unit: int  # weights that are gathered together


def outline(family, dtype=torch.float32):
    """The transformer without storage, as the stages compute with it."""
    with torch.device("meta"):
        transformer = family.transformer_class.from_config(
            family.transformer_class.load_config(family.folder / "transformer"))
    family.adapt(transformer)
    return family.prepare(transformer.train(), dtype)


def count_forward(family, settings):
    """The Forward of the settings' micro-batch."""
    dtype, size = DTYPES[settings.compute], settings.micro_batch
    transformer = outline(family, dtype)
    states = torch.empty(size, *family.state_shape, device="meta")
    contexts = {name: torch.empty(size, *shape, device="meta", dtype=dtype)
                for name, shape in family.context_shapes.items()}
    blocks, inputs = list(family.blocks(transformer).values()), []
    hooks = [block.register_forward_pre_hook(
        lambda block, *given: inputs.append((block, *given)), with_kwargs=True)
        for block in blocks]
    counter = FlopCounterMode(display=False)
    with counter, FusedAttention(), Kept(transformer) as whole:
        family.velocity(transformer, states, torch.empty(size, device="meta"), contexts)
    for hook in hooks:
        hook.remove()
    kept = whole.bytes
    if settings.checkpointing:
        streams = Kept(transformer)
        for _, positional, keywords in inputs:
            for tensor in [*positional, *keywords.values()]:
                streams.keep(tensor)
        with FusedAttention():
            kept = streams.bytes + max(bytes_inside(transformer, *given) for given in inputs)
    weights = sum(parameter.numel() for parameter in transformer.parameters())
    largest = max(sum(p.numel() for p in unit.parameters()) for unit in family.units(transformer))
    return Forward(counter.get_total_flops() / size, kept, weights, largest)


def bytes_inside(transformer, block, positional, keywords):
    """What autograd keeps of one block."""
    with Kept(transformer) as kept:
        block(*positional, **keywords)
    return kept.bytes


class FusedAttention(TorchFunctionMode):
    """Has tensors without storage attend as on a GPU, where no score is kept."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        attends = function is scaled_dot_product_attention
        return (attend if attends else function)(*args, **(kwargs or {}))


def attend(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
           **others):
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale)[0]


class Kept(saved_tensors_hooks):
    """Counts the bytes of what autograd keeps while it is open, weights apart, each once."""

    def __init__(self, module):
        self.seen = {storage(p) for p in module.parameters()}
        self.bytes = 0
        super().__init__(self.keep, lambda tensor: tensor)

    def __enter__(self):
        super().__enter__()
        return self

    def keep(self, tensor):
        if isinstance(tensor, torch.Tensor) and storage(tensor) not in self.seen:
            self.seen.add(storage(tensor))
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor


def storage(tensor):
    return tensor.untyped_storage()._cdata
