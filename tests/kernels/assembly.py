"""A kernel's text, read and assembled as web/engine/assembly.js does it: test_assembly.py compares.

The parts that a header names stand in front of the kernel, and every override becomes a const.
"""

import functools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

WGSL = Path(__file__).parents[2] / "wgsl"
NAMES = sorted(path.stem for path in WGSL.glob("*.wgsl"))
BINDING = re.compile(
    r"^@group\(0\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+): array(?:<(\w+)>;)?",
    re.M)
OVERRIDE = re.compile(r"^override (\w+): (u32|f32|bool) = ([^;]+);", re.M)
LITERAL = re.compile(r"true|false|-?\d[\w.]*")


class InterfaceError(Exception):
    """A kernel's declarations are malformed, or a dispatch does not fit them."""


def text_of(file):
    return (WGSL / f"{file}.wgsl").read_text(encoding="utf-8")


def parts_of(wgsl):
    """Names of the parts that a kernel's header lists."""
    line = re.search(r"^// {3}parts +(\S.*?) *$", wgsl, re.M)
    return [name.strip() for name in line[1].split(",")] if line else []


@functools.cache
def interface(name):
    """What wgsl/ says of a kernel, as read_kernel has it."""
    return read_kernel(name, text_of)


def read_kernel(name, text_of):
    """pieces [(file, text)], source, dims [(field, type)], bindings [(slot, name, writes, dtype)]
    with the written one last, defaults {override: value}, grid [term], stride.

    Raises InterfaceError.
    """
    own = text_of(name)
    pieces = [(file, text_of(file)) for file in [*(f"parts/{p}" for p in parts_of(own)), name]]
    source = "".join(text for _, text in pieces)
    dims = re.search(r"^struct Dims \{([^}]*)\}", own, re.M)
    grid = re.search(r"^// {3}grid +(\S.*?)( stride)? *$", own, re.M)
    if not dims or not dims[1] or not grid:
        raise InterfaceError(f"{name}.wgsl declares no struct Dims or no grid line")
    return SimpleNamespace(
        name=name, pieces=pieces, source=source,
        dims=re.findall(r"(\w+): (u32|f32)", dims[1]),
        grid=[term.strip() for term in grid[1].split(",")], stride=bool(grid[2]),
        bindings=bindings_of(name, source), defaults=defaults_of(name, source))


def bindings_of(name, source):
    bindings = sorted(
        (int(slot), binding, access == "read_write", np.uint32 if of == "u32" else np.float32)
        for slot, access, binding, of in BINDING.findall(source))
    slots = [slot for slot, *_ in bindings]
    if 0 in slots or len(set(slots)) < len(slots):
        raise InterfaceError(
            f"{name}.wgsl: two buffers are bound to one slot, or one to that of dims")
    if [writes for *_, writes, _ in bindings] != [False] * (len(bindings) - 1) + [True]:
        raise InterfaceError(
            f"{name}.wgsl: the last buffer, and it alone, must be read_write")
    return bindings


def defaults_of(name, source):
    found = OVERRIDE.findall(source)
    if len(found) != len(re.findall(r"^\s*override\b", source, re.M)):
        raise InterfaceError(f"{name}.wgsl: an override is not `override NAME: type = value;` "
                             "with a type of u32, f32 or bool")
    return {constant: value == "true" if kind == "bool" else float(value.rstrip("uf"))
            for constant, kind, value in found if LITERAL.fullmatch(value)}


def assemble(kernel, constants, directives=("f16",)):
    """What is compiled for a variant. F16 is no override: it makes `act` f16.

    directives: those that the compiler wants; naga knows subgroups without one.
    """
    constants = dict(constants)
    f16 = bool(constants.pop("F16", False))
    if unknown := set(constants) - set(kernel.defaults):
        raise InterfaceError(f"{kernel.name}.wgsl has no override {', '.join(sorted(unknown))}")

    def specialise(match):
        name, kind, value = match.groups()
        if name in constants:
            value = literal(kernel.name, name, kind, constants[name])
        return f"const {name}: {kind} = {value};"

    code = OVERRIDE.sub(specialise, kernel.source)
    return prelude(code, f16, directives) + code


def literal(kernel, name, kind, value):
    value = float(value)
    text = str(int(value)) if value.is_integer() else repr(value)
    if kind == "bool" and value in (0, 1):
        return "true" if value else "false"
    if kind == "u32" and value.is_integer() and value >= 0:
        return f"{text}u"
    if kind == "f32" and np.isfinite(value):
        return f"{text}f"
    raise InterfaceError(f"{kernel}.wgsl: {name} is a {kind} and cannot be {text}")


def prelude(code, f16, directives):
    """What stands before a kernel's own text."""
    wanted = {"f16": f16, "subgroups": "subgroup_invocation_id" in code}
    enabled = "".join(f"enable {name}; " for name in directives if wanted[name])
    if not re.search(r"\bact\b", code):
        return enabled
    largest = "65504.0" if f16 else "3.4e38"
    return f"{enabled}alias act = {'f16' if f16 else 'f32'}; const ACT_MAX = {largest}; "


def place_of(kernel, line):
    """The file, and the line of it, that a line of the assembled text is."""
    for file, text in kernel.pieces[:-1]:
        lines = text.count("\n")
        if line <= lines:
            return file, line
        line -= lines
    return kernel.name, line
