"""Floating-point operations of one step, for what the page tells before a large download.

Products of low-bit matrices and attention are counted, which are nearly all of them.
"""

from export.packing.spec import LOWBIT


def product_flop(specs, rows_of):
    """Of all low-bit matrices, name -> Spec, each by rows_of(name) rows."""
    return sum(2 * rows_of(name) * spec.shape[0] * spec.shape[1]
               for name, spec in specs.items() if spec.role == LOWBIT)


def attention_flop(queries, keys, width):
    """Of softmax(q kᵀ) v, `width` being all heads' together."""
    return 4 * queries * keys * width
