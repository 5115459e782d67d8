"""One process or several: torch's FSDP2 under torchrun, and what the rest needs to know of it.

Without torchrun every function here is the identity, so that the same code serves both.
"""

import os

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def start(device):
    """Joins the processes that torchrun started, once. Returns this process's torch.device."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if "RANK" not in os.environ:
        return torch.device(device)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return torch.device(device, int(os.environ["LOCAL_RANK"]) if device == "cuda" else None)


def stop():
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank():
    return distributed.get_rank() if distributed.is_initialized() else 0


def count():
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait():
    """Returns when every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


def shard(module, units):
    """Shards the parameters of each unit, then the rest of the module, by rows over the processes.

    Everything is gathered for use and given back at once, so that new values are always seen.
    """
    if not distributed.is_initialized():
        return module
    mesh = init_device_mesh(next(module.parameters()).device.type, (count(),))
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for unit in [*units, module]:
        fully_shard(unit, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    return module


def local(tensor):
    """The rows that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def local_part(whole, parameter):
    """The rows of a whole tensor that this process holds of a parameter."""
    if not isinstance(parameter, DTensor):
        return whole
    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(whole, mesh, placements, src_data_rank=None).to_local()


def whole(part, parameter):
    """The inverse of local_part, on every process; the columns may differ from the parameter's."""
    if not isinstance(parameter, DTensor):
        return part
    shape = torch.Size((parameter.shape[0], *part.shape[1:]))
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        part, parameter.device_mesh, parameter.placements, shape=shape, stride=stride
    ).full_tensor()


def total(tensor):
    """The sum over the processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(tensor)
    return tensor


def agree(flag, device):
    """Whether the first process says so: for decisions that hang on its clock."""
    if not distributed.is_initialized():
        return flag
    said = torch.tensor([int(flag)], device=device)
    distributed.broadcast(said, 0)
    return bool(said.item())
