"""A tiny random transformer of FLUX.1's in the layouts that it is published in, without torch.

Names and shapes stand here once more, after diffusers' FluxTransformer2DModel and the original
code; what export/ reads back is checked against `diffusers`, name -> float32. All is exact in bf16.
"""

import numpy as np

from tests.export.tiny import bf16, pack_bits, save, write_json
from tests.fullscale.formats import Part, bitstream, write_gguf
from tests.fullscale.layouts import base3_blocks

CHANNELS, TEXT, POOLED, TIME, DOUBLE, SINGLE = 32, 64, 32, 256, 1, 2
AXES = {128: [16, 56, 56], 32: [8, 12, 12]}  # by the width of a head
WEIGHTS = "diffusion_pytorch_model.safetensors"
EMBEDDERS = {  # native module -> diffusers' and its inputs
    "time_in": ("time_text_embed.timestep_embedder", TIME),
    "vector_in": ("time_text_embed.text_embedder", POOLED),
    "guidance_in": ("time_text_embed.guidance_embedder", TIME),
}
NORMS = {  # by native name, of a double block and of a single one
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
    "norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k",
}
BLOCKS = {  # GGUF type -> weights of a block
    "Q1_0": 128, "Q2_0": 128, "PQ2_0": 128, "PTQ1_0": 128, "TQ1_0": 256, "TQ2_0": 256,
}


def double_linears(width):
    """native module -> its parts by diffusers' names, with rows; and columns."""
    linears = {}
    for stream, mod, qkv, out, mlp in (
            ("img", "norm1", ("to_q", "to_k", "to_v"), "to_out.0", "ff"),
            ("txt", "norm1_context", ("add_q_proj", "add_k_proj", "add_v_proj"), "to_add_out",
             "ff_context")):
        linears |= {
            f"{stream}_mod.lin": ({f"{mod}.linear": 6 * width}, width),
            f"{stream}_attn.qkv": ({f"attn.{part}": width for part in qkv}, width),
            f"{stream}_attn.proj": ({f"attn.{out}": width}, width),
            f"{stream}_mlp.0": ({f"{mlp}.net.0.proj": 4 * width}, width),
            f"{stream}_mlp.2": ({f"{mlp}.net.2": width}, 4 * width),
        }
    return linears


def single_linears(width):
    return {
        "modulation.lin": ({"norm.linear": 3 * width}, width),
        "linear1": ({"attn.to_q": width, "attn.to_k": width, "attn.to_v": width,
                     "proj_mlp": 4 * width}, width),
        "linear2": ({"proj_out": width}, 5 * width),
    }


class TinyFlux1:
    """`lowbit`: diffusers module -> (values [N, K] of -1, 0, 1; scales [N, K/group]).

    native: native module -> diffusers modules whose rows it holds. group: of inputs; None is a
    scale for each row, "tensor" one for a whole tensor.
    """

    def __init__(self, levels=3, group=None, guidance=False, width=128, seed=0):
        self.random = np.random.default_rng(seed)
        self.levels, self.group, self.guidance, self.width = levels, group, guidance, width
        self.head = 32 if width % 128 else 128  # as the published models have it
        self.lowbit, self.whole, self.native = {}, {}, {}
        self.embedders = [name for name in EMBEDDERS if guidance or name != "guidance_in"]
        self.make_rest()
        for kind, native, count, linears in (
                ("transformer_blocks", "double_blocks", DOUBLE, double_linears(width)),
                ("single_transformer_blocks", "single_blocks", SINGLE, single_linears(width))):
            for i in range(count):
                for module, (parts, columns) in linears.items():
                    names = [f"{kind}.{i}.{part}" for part in parts]
                    self.native[f"{native}.{i}.{module}"] = names
                    for name, rows in zip(names, parts.values(), strict=True):
                        self.add_linear(name, rows, columns)
                for module, name in NORMS.items():
                    if module.startswith("norm") == (kind != "transformer_blocks"):
                        self.native[f"{native}.{i}.{module}"] = [f"{kind}.{i}.{name}"]
                        self.whole[f"{kind}.{i}.{name}.weight"] = self.powers(self.head)

    @property
    def config(self):
        return {
            "_class_name": "FluxTransformer2DModel", "patch_size": 1, "in_channels": CHANNELS,
            "num_layers": DOUBLE, "num_single_layers": SINGLE, "attention_head_dim": self.head,
            "num_attention_heads": self.width // self.head, "joint_attention_dim": TEXT,
            "pooled_projection_dim": POOLED, "guidance_embeds": self.guidance,
            "axes_dims_rope": AXES[self.head],
        }

    def make_rest(self):
        width = self.width
        shapes = {"img_in": ("x_embedder", width, CHANNELS),
                  "txt_in": ("context_embedder", width, TEXT),
                  "final_layer.linear": ("proj_out", CHANNELS, width),
                  "final_layer.adaLN_modulation.1": ("norm_out.linear", 2 * width, width)}
        for native in self.embedders:
            name, columns = EMBEDDERS[native]
            shapes[f"{native}.in_layer"] = (f"{name}.linear_1", width, columns)
            shapes[f"{native}.out_layer"] = (f"{name}.linear_2", width, width)
        for native, (name, rows, columns) in shapes.items():
            self.native[native] = [name]
            self.whole[f"{name}.weight"] = self.powers(rows, columns)
            self.whole[f"{name}.bias"] = self.powers(rows)

    def add_linear(self, name, rows, columns):
        values = [-1, 0, 1] if self.levels == 3 else [-1, 1]
        groups = columns // self.group if isinstance(self.group, int) else 1
        shape = (1, 1) if self.group == "tensor" else (rows, groups)
        scales = self.random.integers(1, 128, shape) / 256
        self.lowbit[name] = (self.random.choice(values, (rows, columns)),
                             np.broadcast_to(scales, (rows, groups)))
        self.whole[f"{name}.bias"] = self.powers(rows)

    def powers(self, *shape):
        signs = self.random.choice([-1, 0, 1], shape)
        return (signs * 2.0 ** self.random.integers(-6, 3, shape)).astype("<f4")

    def weights(self, name):
        """f32 [out, in] of a low-bit module."""
        values, scales = self.lowbit[name]
        return (values * self.spread(scales, values.shape[1])).astype("<f4")

    @staticmethod
    def spread(scales, groups):
        """The scales [N, groups], each as often as it takes."""
        return np.repeat(scales, groups // scales.shape[1], axis=1)

    @property
    def diffusers(self):
        return self.whole | {f"{name}.weight": self.weights(name) for name in self.lowbit}

    @property
    def originals(self):
        """name -> f32 by the original code's names: rows joined, shift before scale."""
        ours, tensors = self.diffusers, {}
        for native, names in self.native.items():
            for part in ("weight", "bias"):
                if f"{names[0]}.{part}" not in ours:
                    continue
                rows = np.concatenate([ours[f"{name}.{part}"] for name in names])
                if native == "final_layer.adaLN_modulation.1":
                    rows = np.concatenate(np.split(rows, 2)[::-1])
                to = "scale" if native.endswith("_norm") else part
                tensors[f"{native}.{to}"] = rows
        return tensors

    def write_diffusers(self, folder, dtype="BF16"):
        write_json(folder / "transformer" / "config.json", self.config)
        save(folder / "transformer" / WEIGHTS, stored(self.diffusers, dtype))
        return folder

    def write_native(self, path, dtype="BF16", prefix=""):
        save(path, {prefix + name: t for name, t in stored(self.originals, dtype).items()})
        return path

    def write_packed(self, folder, group=32):
        """Packed by MLX's rules, as the ternariser writes it, in groups of `group` inputs."""
        tensors, bits = stored(self.whole, "BF16"), self.levels - 1
        for name, (values, scales) in self.lowbit.items():
            codes = (values + 1 if bits == 2 else (values + 1) // 2).astype(np.uint8)
            scales = self.spread(scales, values.shape[1] // group)
            tensors[f"{name}.weight"] = ("U32", pack_bits(codes, bits))
            tensors[f"{name}.scales"] = ("BF16", bf16(scales if bits == 2 else 2 * scales))
            tensors[f"{name}.biases"] = ("BF16", bf16(-scales))
        place = folder / "transformer-packed-mflux"
        write_json(place / "config.json", self.config)
        write_json(place / "quantization_config.json", {"bits": bits, "group_size": group})
        save(place / WEIGHTS, tensors)
        return folder

    def write_gguf(self, path, kind, dense="BF16"):
        """kind: the type of the low-bit tensors, dense: of the other matrices; vectors are F32."""
        parts = []
        for name, values in self.originals.items():
            module = name.removesuffix(".weight")
            names = self.native.get(module, ())
            if names and names[0] in self.lowbit and name.endswith(".weight"):
                part = self.lowbit_part(name, kind, names, values)
            else:
                part = float_part(name, dense if values.ndim > 1 else "F32", values)
            parts.append(part)
        write_gguf(path, parts)
        return path

    def lowbit_part(self, name, kind, names, values):
        if kind not in BLOCKS:
            return float_part(name, kind, values)
        block = BLOCKS[kind]
        trits = np.concatenate([self.lowbit[part][0] for part in names])
        scales = np.concatenate([self.spread(self.lowbit[part][1], trits.shape[1] // block)
                                 for part in names])
        data = blocks_of(kind, trits.reshape(-1, block), scales.reshape(-1))
        return Part(name, kind, trits.shape, lambda: [data], data.nbytes)


def blocks_of(kind, trits, scales):
    """u8 [blocks, bytes] of values [blocks, weights] and scales [blocks]."""
    codes = (trits + 1).astype(np.uint8)
    stored_scales = np.ascontiguousarray(scales, "<f2").reshape(-1, 1).view(np.uint8)
    if kind == "Q1_0":
        return np.concatenate([stored_scales, bitstream(codes // 2, 1)], axis=1)
    if kind in ("Q2_0", "PQ2_0"):
        return np.concatenate([stored_scales, bitstream(codes, 2)], axis=1)
    if kind == "TQ2_0":
        runs = codes.reshape(-1, 2, 4, 32)
        packed = sum(runs[:, :, n] << np.uint8(2 * n) for n in range(4)).reshape(-1, 64)
        return np.concatenate([packed.astype(np.uint8), stored_scales], axis=1)
    runs = ((32, 5), (16, 5), (4, 4)) if kind == "TQ1_0" else ((16, 5), (8, 5), (2, 4))
    return base3_blocks(codes, scales, runs)


def float_part(name, dtype, values):
    if dtype == "Q8_0":
        data = q8_0(values)
        return Part(name, dtype, values.shape, lambda: [data], data.nbytes)
    kept = {"BF16": bf16, "F16": lambda v: v.astype("<f2"), "F32": lambda v: v}[dtype](values)
    return Part(name, dtype, values.shape, lambda: [kept])


def q8_0(values):
    """u8 [blocks, 34]: an f16 scale, a 127th of the largest, and 32 bytes."""
    blocks = values.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype("<f2")
    step = np.where(scales == 0, 1, scales.astype("<f4"))
    return np.concatenate([scales.view(np.uint8),
                           np.rint(blocks / step).astype(np.int8).view(np.uint8)], axis=1)


def stored(tensors, dtype):
    kept = {"BF16": bf16, "F16": lambda v: v.astype("<f2"), "F32": lambda v: v}[dtype]
    return {name: (dtype, kept(values)) for name, values in tensors.items()}
