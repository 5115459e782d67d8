"""Bits and group size of each weight of an MLX file: what its shapes say, and what is declared.

A quantised module has weight u32 [out, in*bits/32], scales and biases [out, in/group]. MLX writes
one pair of bits and group_size for all modules, and where they differ one more under the module's
name, or false for a module that it left alone. The shapes decide; a declaration that they
contradict is refused.
"""

from dataclasses import dataclass

from export.errors import ExportError
from export.layouts.groups import stored_width
from export.packing.formats import GROUP_STEP
from export.packing.spec import FLOATS
from export.source.configuration import Configuration


@dataclass(frozen=True)
class Grid:
    bits: int
    group: int


class Declared:
    """What a configuration says: `all` for every module, `of(name)` for one."""

    def __init__(self, config):
        self.config = config
        self.bits = config.integer("bits", config.integer("nbits", None))
        self.group = config.integer("group_size", config.integer("groupSize", None))
        self.modules = {key: value for key, value in config.values.items()
                        if isinstance(value, dict | bool) and value is not True}

    @classmethod
    def beside(cls, folder):
        """Of the config.json in a folder: `quantization` or `quantization_config`."""
        config = Configuration.read_optional(folder / "config.json")
        values = config.get("quantization", config.get("quantization_config", {}))
        if not isinstance(values, dict):
            config.fail(f"quantization is {values!r}, expected an object with bits and group_size")
        return cls(Configuration(config.path, values))

    def own(self, name):
        """What is said of one module alone: an object, False, or None for nothing."""
        module = name.removesuffix(".weight")
        return next((value for key, value in self.modules.items()
                     if key == module or key.endswith(f".{module}")), None)

    def of(self, name):
        """(bits, group) of a weight, each None where nothing is said; bits "false" for none."""
        own = self.own(name)
        if own is None:
            return self.bits, self.group
        if own is False:
            return "false", None
        own = Configuration(self.config.path, own)
        return own.integer("bits", self.bits), own.integer("group_size", self.group)


def read_grid(checkpoint, name, spec, declared, check_bits):
    """The Grid of a weight as its shapes have it, or None where they have none.

    check_bits(name, bits, declared bits): raises ExportError for bits that the layout does not take
    or that are not the declared ones.
    """
    entries, (rows, columns) = checkpoint.entries, spec.shape
    weight, scales = entries.get(name), entries.get(sibling(name, "scales"))
    if weight is None or scales is None:
        return None
    if weight.dtype != "U32" or scales.dtype not in FLOATS:
        return None
    for entry in (weight, scales):
        if len(entry.shape) != 2 or entry.shape[0] != rows or not entry.shape[1]:
            return None
    width, groups = weight.shape[1], scales.shape[1]
    if 32 * width % columns:
        return None
    bits, (bits_declared, group_declared) = 32 * width // columns, declared.of(name)
    check_bits(name, bits, bits_declared)
    group, told = columns / groups, declared.config.path.name
    if group_declared not in (None, group):
        raise ExportError(
            f"{checkpoint.folder}: the scales of {name} give a group size of {group:g}, expected "
            f"{group_declared} by {told}: there the group size is {group_declared}, expected "
            f"{group:g}; take both files from one place"
        )
    if not stored_width(group, spec):
        raise ExportError(
            f"{checkpoint.folder}: the scales of {name} give a group size of {group:g}, expected a "
            f"multiple of {GROUP_STEP} that divides {columns} inputs"
        )
    return Grid(bits, int(group))


def sibling(name, part):
    return name.removesuffix("weight") + part
