"""The data set on disk: rendered scenes, then their latents, both as memory-mapped arrays.

Scene i of the training set has seed i; held-out scenes start at HELD_OUT_SEED.
"""

from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import torch

from .draw import draw
from .large.draw import draw as draw_large
from .scene import random_scene

HELD_OUT_SEED = 10_000_000
CHUNK = 250
PAINTERS = {128: draw, 256: draw_large}     # by the side of the picture


def draw_range(first, count, paint=draw):
    """Pictures of the scenes first .. first + count - 1: uint8 [count, side, side, 3]."""
    return np.stack([paint(random_scene(seed)) for seed in range(first, first + count)])


def render(path, count, workers=2, paint=draw):
    """Draw `count` training scenes into `path` (.npy, uint8 [count, side, side, 3]) once."""
    path = Path(path)
    if path.exists() and len(np.load(path, mmap_mode="r")) == count:
        return np.load(path, mmap_mode="r")
    if count % CHUNK:
        raise ValueError(f"render: count is {count}, expected a multiple of {CHUNK}")
    partial = path.with_suffix(".partial.npy")
    shape = count, *draw_range(0, 1, paint).shape[1:]
    pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
    starts = range(0, count, CHUNK)
    with ProcessPoolExecutor(workers) as pool:
        chunks = pool.map(draw_range, starts, repeat(CHUNK), repeat(paint))
        for start, chunk in zip(starts, chunks, strict=True):
            pictures[start:start + CHUNK] = chunk
    pictures.flush()
    partial.rename(path)
    return np.load(path, mmap_mode="r")


class Latents:
    """The encoded scenes, normalised: rows f32 [64 tokens, channels], unit variance."""

    def __init__(self, path, statistics):
        self.packed = np.load(path, mmap_mode="r")
        self.mean = statistics["mean"].numpy()[:, None, None]
        self.deviation = np.sqrt(statistics["variance"].numpy()[:, None, None] + 1e-4)

    def __len__(self):
        return len(self.packed)

    def tokens(self, indices):
        chosen = self.packed[np.sort(indices)].astype(np.float32)
        return torch.from_numpy((chosen - self.mean) / self.deviation).flatten(2).mT.contiguous()
