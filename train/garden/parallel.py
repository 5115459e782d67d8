"""Data parallelism over single-threaded processes on one machine.

The networks are so small that two processes of one thread each, which meet once a step to average
their gradients, run half as fast again as one process whose every operation meets two threads.
"""

import os
import tempfile

import torch
from torch import distributed, multiprocessing


def _enter(rank, workers, store, target, arguments):
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank,
                                   world_size=workers)
    target(rank, workers, *arguments)
    distributed.destroy_process_group()


def run(target, arguments, workers):
    """Call target(rank, workers, *arguments) in `workers` processes and wait for them all."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_enter, (workers, os.path.join(folder, "store"), target, arguments),
                              nprocs=workers)


def average_gradients(parameters):
    """Replace every gradient by its mean over the processes, in one exchange."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset:offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def agree(value):
    """Rank 0's float in every process (for decisions that depend on a clock)."""
    tensor = torch.tensor([value], dtype=torch.float64)
    distributed.broadcast(tensor, 0)
    return tensor.item()
