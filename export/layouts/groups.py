"""Widths of a group, the inputs that share a scale: which are stored, and the widest that will do.

A width is stored that is a multiple of 16 and divides the inputs of a row, and the column at which
the runtime cuts the weight. Where neighbours have one scale it is stored once: a model with a scale
for each row, or for each tensor, has one for a row.
"""

import math

import numpy as np

from export.packing.formats import GROUP_STEP

FIRST_ROWS = 64  # which tell of most widths that they do not fit


def groups_of(spec):
    """The widths that a weight of this Spec can be stored in, the widest first."""
    columns = math.gcd(spec.shape[1], spec.cut)
    return [n for n in range(columns, 0, -1) if columns % n == 0 and n % GROUP_STEP == 0]


def stored_width(group, spec):
    """The widest of them that divides a group of the source, whose scale it has; None if none."""
    return next((width for width in groups_of(spec) if group % width == 0), None)


def share_scales(parts, group, spec):
    """(group, parts) of as wide a group as the arrays [N, K/group] of scales and the like allow.

    Values are repeated where a group would cross the cut. `group` has a stored_width.
    """
    width = stored_width(group, spec)
    parts = [np.repeat(part, group // width, axis=1) for part in parts]
    for wider in groups_of(spec):
        runs = wider // width
        if wider % width == 0 and all(are_alike(part, runs) for part in parts):
            return wider, [np.ascontiguousarray(part[:, ::runs]) for part in parts]
    raise AssertionError("a group is as wide as itself")


def are_alike(part, runs):
    """Whether every `runs` neighbours of a row are one value."""
    for rows in (part[:FIRST_ROWS], part):
        together = rows.reshape(len(rows), -1, runs)
        if not (together == together[..., :1]).all():
            return False
    return True


def widest_group(magnitudes, spec):
    """(group, scales [N, K/group]) from the largest magnitudes [N, K/16] of 16 inputs each.

    A run of zeros has the scale of its neighbours.
    """
    for group in groups_of(spec):
        if fits(magnitudes[:FIRST_ROWS], group) and fits(magnitudes, group):
            return group, runs_of(magnitudes, group).max(axis=-1)
    raise AssertionError("groups of GROUP_STEP always fit")


def fits(magnitudes, group):
    runs = runs_of(magnitudes, group)
    return ((runs == runs.max(axis=-1, keepdims=True)) | (runs == 0)).all()


def runs_of(magnitudes, group):
    return magnitudes.reshape(len(magnitudes), -1, group // GROUP_STEP)


def what_fits(spec):
    """What to do about a group that is not stored, as a sentence's end."""
    inputs = f"its {spec.shape[1]} inputs"
    groups = [str(group) for group in reversed(groups_of(spec))]
    if not groups:
        return f"{inputs} are no multiple of {GROUP_STEP}"
    *others, last = groups
    groups = f"{', '.join(others)} or {last}" if others else last
    return f"make the model with groups of {groups}, which divide {inputs}"
