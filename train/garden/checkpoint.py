"""Checkpoints of the training runs: one file a run, replaced whole, so an interruption loses
minutes and never the file."""

from pathlib import Path

import torch


def checkpoint_path(folder, name):
    return Path(folder) / f"{name}.pt"


def save(folder, name, state):
    path = checkpoint_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_latest(folder, name):
    """The saved state, or None where this run has not saved yet."""
    path = checkpoint_path(folder, name)
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
