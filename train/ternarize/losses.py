"""How far the student is from its teacher: in what it says, and in what its blocks hold."""

from contextlib import contextmanager

import torch
from torch.nn import functional

FEATURE_BLOCKS = 12  # at most so many blocks are compared, spread evenly


def relative_error(got, want):
    """Squared error over the squared norm of `want`, for each sample: [B, ...] -> f32 [B]."""
    error, size = (got.float() - want.float()).flatten(1), want.float().flatten(1)
    return error.square().sum(1) / size.square().sum(1).clamp(min=1e-12)


def cosine(got, want):
    """Of each sample's velocities: [B, ...] -> [B]."""
    return functional.cosine_similarity(got.flatten(1), want.flatten(1))


def compared(family, transformer):
    """The blocks whose features are compared."""
    blocks = list(family.blocks(transformer).values())
    return blocks[:: -(-len(blocks) // FEATURE_BLOCKS)]


@contextmanager
def features(family, blocks):
    """A list that receives the blocks' outputs [B, tokens, width] while the context is open.

    Gradient checkpointing runs blocks again in the backward pass, when the context is closed.
    """
    seen = []

    def keep(module, inputs, output):
        seen.append(family.stream(output))

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def distances(family, student, teacher, batch, with_features):
    """Relative velocity error and mean relative feature error, each f32 [B]; zeros without."""
    blocks = [compared(family, model) if with_features else [] for model in (student, teacher)]
    with torch.no_grad(), features(family, blocks[1]) as wanted_features:
        wanted = family.velocity(teacher, *batch.inputs(teacher=True))
    with features(family, blocks[0]) as got_features:
        got = family.velocity(student, *batch.inputs())
    velocity = relative_error(got, wanted)
    if not with_features:
        return velocity, torch.zeros_like(velocity)
    errors = [relative_error(*pair) for pair in zip(got_features, wanted_features, strict=True)]
    return velocity, torch.stack(errors).mean(0)
