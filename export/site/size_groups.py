"""The sizes that the page offers, in the groups that its list has."""

from collections.abc import Callable, Iterable, Sequence
from math import gcd
from typing import Any

FAST_PIXELS = 300_000
LONGEST_RATIO = 16  # terms of a ratio that says something at a glance


def size_groups(
    sizes: Iterable[Sequence[int]], peak_gpu_bytes: Callable[[tuple[int, int]], int],
    step_flop: Callable[[tuple[int, int]], int],
) -> list[dict[str, Any]]:
    """[[width, height], ...] -> [{label, sizes: [{width, height, shape, peak_bytes, step_flop}]}].

    peak_gpu_bytes(size): the GPU memory that is expected; step_flop(size): the work of a step.
    Groups without a size are left out.
    """
    groups: dict[str, list] = {"Fast": [], "Quality": []}
    for width, height in sizes:
        label = "Fast" if width * height <= FAST_PIXELS else "Quality"
        groups[label].append({
            "width": width,
            "height": height,
            "shape": shape_of(width, height),
            "peak_bytes": peak_gpu_bytes((width, height)),
            "step_flop": step_flop((width, height)),
        })
    return [{"label": label, "sizes": listed} for label, listed in groups.items() if listed]


def shape_of(width: int, height: int) -> str:
    """"square", "3:2", or a word where the ratio has no small terms."""
    if width == height:
        return "square"
    divisor = gcd(width, height)
    across, down = width // divisor, height // divisor
    if max(across, down) <= LONGEST_RATIO:
        return f"{across}:{down}"
    return "landscape" if width > height else "portrait"
