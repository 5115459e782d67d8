"""The arithmetic of the training runs: bfloat16 where this CPU multiplies matrices in it (AMX),
float32 where bfloat16 would be slower (nine times, measured on a CPU with AVX-512 alone)."""

import torch


def training_dtype():
    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else torch.float32


def autocast():
    """A context that runs a network with float32 weights in the dtype above."""
    return torch.autocast("cpu", torch.bfloat16, training_dtype() == torch.bfloat16)
