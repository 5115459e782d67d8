"""Runs a kernel of wgsl/ by the interface it declares: Dims, bindings, overrides and grid line."""

import functools
import math
import os
import re
import tempfile

import numpy as np

from tests.kernels.assembly import InterfaceError, assemble, interface, place_of

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())  # without it Mesa complains
import wgpu  # noqa: E402

LIMITS = {  # WebGPU's defaults, which every device has
    "max-compute-invocations-per-workgroup": 256,
    "max-compute-workgroup-storage-size": 16384,
    "max-storage-buffers-per-shader-stage": 8,
    "max-storage-buffer-binding-size": 128 << 20,
}
MAX_GROUPS = 65535
SENTINEL = np.uint32(0x7FC0DEAD)  # a NaN: fills outputs, and a guard behind every buffer
GUARD = 64  # words


def workgroups(name, dims, overrides):
    """Counts x, y, z: every term of the grid a product, divided at most once, rounded up."""
    face = interface(name)
    known = {**face.defaults, **overrides, **dims}

    def number(word):
        return int(word) if word.isdigit() else int(known[word])

    counts = []
    for term in face.grid:
        product, _, divisor = term.partition("/")
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


@functools.cache
def pipeline(name, constants):
    """Raises InterfaceError with the compiler's words, and files and lines as they lie in wgsl/."""
    kernel = interface(name)
    try:
        module = device().create_shader_module(
            label=name, code=assemble(kernel, dict(constants)))
        stage = {"module": module, "entry_point": "main"}
        return device().create_compute_pipeline(layout="auto", compute=stage)
    except wgpu.GPUError as error:
        raise InterfaceError(f"{name} does not compile: {placed(kernel, error.message)}") from None


def placed(kernel, message):
    """A compiler's message with the places of the assembled text as they are in wgsl/."""
    def place(match):
        file, line = place_of(kernel, int(match[1]))
        return f"{file}.wgsl:{line}:{match[2]}"

    return re.sub(r"wgsl:(\d+):(\d+)", place, message)


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
    expect(name, "bindings", {binding for _, binding, *_ in face.bindings}, arrays)
    expect(name, "overrides", {*face.defaults, "F16"}, {*face.defaults, "F16", *overrides})

    _, written, _, dtype = face.bindings[-1]
    before = arrays[written]
    if isinstance(before, tuple):
        before = np.full(before, SENTINEL)
    uniform = b"".join(
        np.dtype(np.float32 if t == "f32" else np.uint32).type(dims[n]).tobytes()
        for n, t in face.dims)
    buffers = {0: upload(uniform, wgpu.BufferUsage.UNIFORM)}
    for slot, binding, *_ in face.bindings:
        data = before if binding == written else arrays[binding]
        buffers[slot] = upload(guarded(data), wgpu.BufferUsage.STORAGE)

    x, y, z = workgroups(name, dims, overrides)
    dispatch(pipeline(name, tuple(sorted(overrides.items()))), buffers, (min(x, most_groups), y, z))
    words = np.frombuffer(device().queue.read_buffer(buffers[face.bindings[-1][0]]), np.uint32)
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
               for i, buffer in buffers.items()]
    group = device().create_bind_group(layout=compute.get_bind_group_layout(0), entries=entries)
    encoder = device().create_command_encoder()
    compute_pass = encoder.begin_compute_pass()
    compute_pass.set_pipeline(compute)
    compute_pass.set_bind_group(0, group)
    compute_pass.dispatch_workgroups(*counts)
    compute_pass.end()
    device().queue.submit([encoder.finish()])
