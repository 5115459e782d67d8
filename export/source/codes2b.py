"""The safetensors files of the GemLite pack that ComfyUI loads: two bits a weight, FP8 beside them.

A packed module M has three tensors instead of M.weight:

    M::shape    [2] whole numbers, out and in
    M::codes2b  u8 [out, in/4]; column 4j in bits 0 and 1, 4j + 1 in bits 2 and 3, and so on
    M::scale    float [out, groups], which share the inputs evenly
"""

from dataclasses import replace

import numpy as np

from export.errors import ExportError
from export.source.safetensors import Tensor, Tensors

MARK = "::"
CODES, SCALE, SHAPE = "codes2b", "scale", "shape"
FP8, FLOATS, WHOLE = "F8_E4M3", ("F32", "F16", "BF16"), ("I64", "I32", "I16", "U8")


class Codes2bFile(Tensors):
    """M.codes2b and M.scale for each packed module, whose shape is checked, and the others as

    they are, but FP8 as BF16, which holds every value of it.
    """

    def __init__(self, source):
        self.folder, self.source = source.folder, source
        self.entries, self.names = {}, {}
        self.fp8 = {name for name, entry in source.entries.items() if entry.dtype == FP8}
        packed = {name.partition(MARK)[0] for name in source.entries if MARK in name}
        for module in sorted(packed):
            check_module(source, module)
        for name in self.fp8:
            source.entries[name] = replace(source.entries[name], dtype="U8")
        for name, entry in source.entries.items():
            module, mark, part = name.partition(MARK)
            ours = f"{module}.{part}" if mark else name
            if part == SHAPE and mark:
                continue
            if ours in self.entries:
                raise ExportError(f"{entry.path}: {name} and another tensor are both {ours}")
            self.entries[ours] = replace(entry, dtype="BF16") if name in self.fp8 else entry
            self.names[ours] = name

    def rename(self, new_name, taken):
        super().rename(new_name, taken)
        self.names = {new_name(name): theirs for name, theirs in self.names.items()}

    def read(self, name, first=0, last=None):
        theirs, entry = self.names[name], self.entries[name]
        data = self.source.read(theirs, first, last).data
        data = E4M3[data] if theirs in self.fp8 else data
        shape = (len(data), *entry.shape[1:]) if entry.shape else ()
        return Tensor(name, entry.dtype, data.reshape(shape))


def unfold(source):
    """The source, or its Codes2bFile where it holds packed modules of this kind."""
    packed = any(name.endswith(f"{MARK}{CODES}") for name in source.entries)
    return Codes2bFile(source) if packed else source


def check_module(source, module):
    """Raises ExportError unless the parts of a packed module are there and fit one another."""
    start = f"{module}{MARK}"
    parts = {name.removeprefix(start): entry for name, entry in source.entries.items()
             if name.startswith(start)}
    for part in (CODES, SCALE, SHAPE):
        if part not in parts:
            fail(source, module, f"has no {MARK}{part}, expected {MARK}{CODES}, {MARK}{SCALE} and "
                 f"{MARK}{SHAPE} of every packed weight; download the file again")
    strange = sorted(parts.keys() - {CODES, SCALE, SHAPE})
    if strange:
        fail(source, module, f"has {MARK}{strange[0]}, which this version does not know; take the "
             "model's unpacked transformer/")
    codes, scale, shape = parts[CODES], parts[SCALE], parts[SHAPE]
    if shape.shape != (2,) or shape.dtype not in WHOLE:
        fail(source, module, f"has {MARK}{SHAPE} {shape.dtype} {list(shape.shape)}, expected two "
             "whole numbers, outputs and inputs")
    rows, columns = (int(n) for n in source.read(f"{start}{SHAPE}").data)
    if codes.dtype != "U8" or codes.shape != (rows, columns // 4) or columns % 4:
        fail(source, module, f"is {codes.dtype} {list(codes.shape)}, expected U8 [{rows}, "
             f"{columns}/4] by its {MARK}{SHAPE} [{rows}, {columns}]")
    fits = len(scale.shape) == 2 and scale.shape[0] == rows and scale.shape[1] > 0
    if scale.dtype not in FLOATS or not fits or columns % scale.shape[1]:
        fail(source, module, f"has scales {scale.dtype} {list(scale.shape)}, expected floats "
             f"[{rows}, groups] of which the groups divide {columns} inputs")


def fail(source, module, message):
    raise ExportError(f"{source.folder}: {module} {message}")


def e4m3_values():
    """bf16 as u16 [256]: the value of each byte of FP8 (e4m3fn: bias 7, no infinity, one NaN)."""
    code = np.arange(256)
    exponent, mantissa = code >> 3 & 15, (code & 7) / 8
    values = np.where(exponent == 0, mantissa * 2.0**-6, (1 + mantissa) * 2.0 ** (exponent - 7))
    values[code & 127 == 127] = np.nan
    signed = np.where(code >> 7, -values, values).astype("<f4")
    return (signed.view("<u4") >> 16).astype("<u2")


E4M3 = e4m3_values()
