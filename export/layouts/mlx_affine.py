"""An MLX-quantised text encoder, 4 or 8 bits: passed through as it is.

Quantised modules have weight u32 [out, in*bits/32], scales and biases [out, in/group], with
w = scale*code + bias; the others (norms) are ordinary tensors.
"""

from export.checkpoint import Checkpoint
from export.configuration import Configuration
from export.errors import ExportError
from export.layouts.floats import dense_storage, pack_dense
from export.layouts.mlx_packed import expected_names, read_scales, sibling
from export.pack import STORAGE_OF, Packed, Storage
from export.spec import LINEAR

BITS = (4, 8)
GROUP_STEP = 32  # the kernels read whole words of a group


class MlxAffine:
    name, folder = "mlx-affine", "text_encoder-mlx-4bit"
    files = (f"{folder}/*.safetensors*",)

    def __init__(self, checkpoint, specs, bits=None):
        self.checkpoint, self.specs = checkpoint, specs
        self.bits, self.group = find_quantization(checkpoint.folder)
        for name, spec in specs.items():
            if spec.role == LINEAR and spec.shape[1] % self.group:
                raise ExportError(
                    f"{checkpoint.folder}: {name} is {spec.shape[1]} wide, not a multiple of the "
                    f"group size {self.group}"
                )

    @staticmethod
    def open(place, call):
        return Checkpoint(place.path)

    @staticmethod
    def stored_bits(folder):
        return find_quantization(folder)[0]

    def expected(self):
        return expected_names(self.specs, LINEAR, self.bits, self.group)

    def storage(self, name):
        spec = self.specs[name]
        if spec.role != LINEAR:
            return dense_storage(self.checkpoint, name, spec)
        scales_dtype = self.checkpoint.entries[sibling(name, "scales")].dtype
        return Storage(f"affine{self.bits}", spec.shape, self.group, STORAGE_OF[scales_dtype])

    def pack(self, name):
        spec = self.specs[name]
        if spec.role != LINEAR:
            return pack_dense(self.checkpoint, name, spec)
        scales, biases = read_scales(self.checkpoint, name)
        codes = self.checkpoint.read(name).data
        return Packed(
            self.storage(name), {"codes": codes, "scales": scales.data, "biases": biases.data}
        )


def find_quantization(folder):
    """Bits and group size from config.json: `quantization` or `quantization_config`."""
    config = Configuration.read(folder / "config.json")
    values = config.get("quantization", config.get("quantization_config", {}))
    if not isinstance(values, dict):
        config.fail(f"quantization is {values!r}, expected an object with bits and group_size")
    quantization = Configuration(config.path, values)
    bits = quantization.integer("bits", 4)
    group = quantization.integer("group_size", 64)
    if bits not in BITS:
        config.fail(f"quantization says {bits} bits, expected 4 or 8")
    if group % GROUP_STEP:
        config.fail(f"the group size is {group}, expected a multiple of {GROUP_STEP}")
    return bits, group
