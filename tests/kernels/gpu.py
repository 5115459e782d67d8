"""Runs a kernel of wgsl/ by the interface it declares: Dims, bindings, overrides and grid line."""

import functools
import math
import os
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())  # without it Mesa complains
import wgpu  # noqa: E402

WGSL = Path(__file__).parents[2] / "wgsl"
NAMES = sorted(path.stem for path in WGSL.glob("*.wgsl"))
LIMITS = {  # WebGPU's defaults, which every device has
    "max-compute-invocations-per-workgroup": 256,
    "max-compute-workgroup-storage-size": 16384,
    "max-storage-buffers-per-shader-stage": 8,
    "max-storage-buffer-binding-size": 128 << 20,
}
MAX_GROUPS = 65535
SENTINEL = np.uint32(0x7FC0DEAD)  # a NaN: fills outputs, and a guard behind every buffer
GUARD = 64  # words


class InterfaceError(Exception):
    """A kernel's declarations are malformed, or a dispatch does not fit them."""


@functools.cache
def interface(name):
    """source, dims [(field, type)], bindings [(name, dtype)], defaults {override: value}, grid."""
    source = (WGSL / f"{name}.wgsl").read_text(encoding="utf-8")
    dims = re.search(r"^struct Dims \{(.*?)\}", source, re.M | re.S)
    grid = re.search(r"^//   grid +(.+?)( stride)?$", source, re.M)
    bindings = re.findall(
        r"^@group\(0\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+): array<(\w+)>;$",
        source, re.M)
    overrides = re.findall(r"^override (\w+): (u32|f32|bool) = (\w[\w.]*?)u?;$", source, re.M)
    if not dims or not grid or [int(b[0]) for b in bindings] != [*range(1, len(bindings) + 1)]:
        raise InterfaceError(f"{name}.wgsl: needs Dims, a grid line and bindings 1, 2, ...")
    if [b[1] for b in bindings] != ["read"] * (len(bindings) - 1) + ["read_write"]:
        raise InterfaceError(f"{name}.wgsl: the last binding alone must be read_write: {bindings}")
    if len(overrides) != source.count("\noverride "):
        raise InterfaceError(f"{name}.wgsl: every override needs type and default: {overrides}")
    return SimpleNamespace(
        source=source, grid=grid[1], stride=bool(grid[2]),
        dims=re.findall(r"(\w+): (u32|f32)", dims[1]),
        defaults={n: v == "true" if t == "bool" else float(v) for n, t, v in overrides},
        bindings=[(b[2], np.uint32 if b[3] == "u32" else np.float32) for b in bindings])


def workgroups(name, dims, overrides):
    """Counts x, y, z: every term of the grid a product, divided at most once, rounded up."""
    face = interface(name)
    known = {**face.defaults, **overrides, **dims}

    def number(word):
        return int(word) if word.isdigit() else int(known[word])

    counts = []
    for term in face.grid.split(","):
        product, _, divisor = term.strip().partition("/")
        count = math.prod(number(word) for word in product.split("*"))
        counts.append(-(-count // number(divisor)) if divisor else count)
    if face.stride:
        return min(counts[0], MAX_GROUPS), 1, 1
    if max(counts) > MAX_GROUPS:
        raise InterfaceError(f"{name}: grid {counts} is over {MAX_GROUPS}; split the dispatch")
    return tuple(counts)


@functools.cache
def device():
    """A device with the default limits. Raises without an adapter: these tests never skip."""
    return wgpu.gpu.request_adapter_sync().request_device_sync(
        required_limits=LIMITS, required_features=["shader-f16", "subgroup"])


def prelude(source, f16, directives=("f16",)):
    """What stands before a kernel's own text. naga knows subgroups without a directive."""
    wanted = {"f16": f16, "subgroups": "subgroup_invocation_id" in source}
    enabled = "".join(f"enable {name}; " for name in directives if wanted[name])
    if not re.search(r"\bact\b", source):
        return enabled
    largest = "65504.0" if f16 else "3.4e38"
    return f"{enabled}alias act = {'f16' if f16 else 'f32'}; const ACT_MAX = {largest}; "


@functools.cache
def pipeline(name, constants):
    source, constants = interface(name).source, dict(constants)
    code = prelude(source, constants.pop("F16", False)) + source
    module = device().create_shader_module(label=name, code=code)
    stage = {"module": module, "entry_point": "main", "constants": dict(constants)}
    return device().create_compute_pipeline(layout="auto", compute=stage)


def run(name, dims, arrays, overrides=None, most_groups=MAX_GROUPS):
    """Dispatches one kernel and returns what its written binding holds afterwards.

    dims        field -> number, all of Dims
    arrays      binding -> numpy array; for the written binding its contents before, or a shape:
                then it starts as NaN, which stays where nothing is written
    overrides   override -> number or bool; F16 makes `act` f16
    most_groups fewer workgroups than a grid-stride kernel asks for, so that its loop turns
    """
    face, overrides = interface(name), overrides or {}
    expect(name, "Dims", {field for field, _ in face.dims}, dims)
    expect(name, "bindings", {binding for binding, _ in face.bindings}, arrays)
    expect(name, "overrides", {*face.defaults, "F16"}, {*face.defaults, "F16", *overrides})

    written, dtype = face.bindings[-1]
    before = arrays[written]
    if isinstance(before, tuple):
        before = np.full(before, SENTINEL)
    uniform = b"".join(
        np.dtype(np.float32 if t == "f32" else np.uint32).type(dims[n]).tobytes()
        for n, t in face.dims)
    buffers = [upload(uniform, wgpu.BufferUsage.UNIFORM)]
    for binding, _ in face.bindings[:-1]:
        buffers.append(upload(guarded(arrays[binding]), wgpu.BufferUsage.STORAGE))
    buffers.append(upload(guarded(before), wgpu.BufferUsage.STORAGE))

    x, y, z = workgroups(name, dims, overrides)
    dispatch(pipeline(name, tuple(sorted(overrides.items()))), buffers, (min(x, most_groups), y, z))
    words = np.frombuffer(device().queue.read_buffer(buffers[-1]), np.uint32)
    if (words[before.size :][:GUARD] != SENTINEL).any():
        raise AssertionError(f"{name}: wrote behind the {before.size} elements of {written}")
    return words[: before.size].view(dtype).reshape(before.shape)


def expect(name, what, want, got):
    if set(got) != set(want):
        raise InterfaceError(f"{name}: {what} are {sorted(want)}, got {sorted(got)}")


def guarded(array):
    data = array.tobytes()
    return data + bytes(-len(data) % 4) + np.full(GUARD, SENTINEL).tobytes()


def upload(data, usage):
    data += bytes(-len(data) % 16)  # whole vec4s
    return device().create_buffer_with_data(data=data, usage=usage | wgpu.BufferUsage.COPY_SRC)


def dispatch(compute, buffers, counts):
    entries = [{"binding": i, "resource": {"buffer": buffer, "offset": 0, "size": buffer.size}}
               for i, buffer in enumerate(buffers)]
    group = device().create_bind_group(layout=compute.get_bind_group_layout(0), entries=entries)
    encoder = device().create_command_encoder()
    compute_pass = encoder.begin_compute_pass()
    compute_pass.set_pipeline(compute)
    compute_pass.set_bind_group(0, group)
    compute_pass.dispatch_workgroups(*counts)
    compute_pass.end()
    device().queue.submit([encoder.finish()])
