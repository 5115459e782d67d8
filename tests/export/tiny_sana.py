"""A tiny random denoiser of Sana's in the layouts that it is published in, without torch.

Names and shapes stand here once more, after diffusers' SanaTransformer2DModel; what export/ reads
back is checked against `weights`, float32 [out, in].
"""

import numpy as np

from tests.export.tiny import bf16, pack_bits, save, write_json

D, F, TEXT, CHANNELS, LAYERS, GROUP = 224, 448, 64, 16, 2, 112
CONFIG = {
    "_class_name": "SanaTransformer2DModel", "in_channels": CHANNELS, "out_channels": CHANNELS,
    "num_layers": LAYERS, "num_attention_heads": 7, "attention_head_dim": 32,
    "num_cross_attention_heads": 2, "cross_attention_head_dim": 112, "cross_attention_dim": D,
    "caption_channels": TEXT, "mlp_ratio": 2.0, "sample_size": 4, "guidance_embeds": False,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"
LINEARS = {  # native module -> its parts by diffusers' names, columns, rows of each part
    "attn.qkv": (("attn1.to_q", "attn1.to_k", "attn1.to_v"), D, D),
    "attn.proj": (("attn1.to_out.0",), D, D),
    "cross_attn.q_linear": (("attn2.to_q",), D, D),
    "cross_attn.kv_linear": (("attn2.to_k", "attn2.to_v"), D, D),
    "cross_attn.proj": (("attn2.to_out.0",), D, D),
    "mlp.inverted_conv.conv": (("ff.conv_inverted",), D, 2 * F),
    "mlp.point_conv.conv": (("ff.conv_point",), F, D),
}
BIASED = ("attn.proj", "cross_attn.q_linear", "cross_attn.kv_linear", "cross_attn.proj",
          "mlp.inverted_conv.conv")
REST = {  # native name -> diffusers', shape; of all blocks where it begins with "mlp."
    "x_embedder.proj.weight": ("patch_embed.proj.weight", (D, CHANNELS, 1, 1)),
    "x_embedder.proj.bias": ("patch_embed.proj.bias", (D,)),
    "t_embedder.mlp.0.weight": ("time_embed.emb.timestep_embedder.linear_1.weight", (D, 256)),
    "t_embedder.mlp.0.bias": ("time_embed.emb.timestep_embedder.linear_1.bias", (D,)),
    "t_embedder.mlp.2.weight": ("time_embed.emb.timestep_embedder.linear_2.weight", (D, D)),
    "t_embedder.mlp.2.bias": ("time_embed.emb.timestep_embedder.linear_2.bias", (D,)),
    "t_block.1.weight": ("time_embed.linear.weight", (6 * D, D)),
    "t_block.1.bias": ("time_embed.linear.bias", (6 * D,)),
    "y_embedder.y_proj.fc1.weight": ("caption_projection.linear_1.weight", (D, TEXT)),
    "y_embedder.y_proj.fc1.bias": ("caption_projection.linear_1.bias", (D,)),
    "y_embedder.y_proj.fc2.weight": ("caption_projection.linear_2.weight", (D, D)),
    "y_embedder.y_proj.fc2.bias": ("caption_projection.linear_2.bias", (D,)),
    "attention_y_norm.weight": ("caption_norm.weight", (D,)),
    "final_layer.linear.weight": ("proj_out.weight", (CHANNELS, D)),
    "final_layer.linear.bias": ("proj_out.bias", (CHANNELS,)),
    "final_layer.scale_shift_table": ("scale_shift_table", (2, D)),
}
IN_BLOCK = {
    "mlp.depth_conv.conv.weight": ("ff.conv_depth.weight", (2 * F, 1, 3, 3)),
    "mlp.depth_conv.conv.bias": ("ff.conv_depth.bias", (2 * F,)),
    "scale_shift_table": ("scale_shift_table", (6, D)),
}


class TinySana:
    """`trits` and `scales` by native module, `rest` by native name; all is exact in bf16.

    fp8: the rest of two dimensions and more holds only values of FP8 (here: 0 and powers of two).
    """

    def __init__(self, levels=3, seed=0, group=GROUP):
        self.random, self.group = np.random.default_rng(seed), group
        self.trits, self.scales, self.rest, self.names = {}, {}, {}, {}
        for i in range(LAYERS):
            for module, (parts, columns, rows) in LINEARS.items():
                self.add_linear(f"blocks.{i}.{module}", len(parts) * rows, columns, levels)
                self.names[f"blocks.{i}.{module}"] = [
                    f"transformer_blocks.{i}.{part}" for part in parts]
            for module in BIASED:
                rows = len(LINEARS[module][0]) * LINEARS[module][2]
                self.rest[f"blocks.{i}.{module}.bias"] = self.powers((rows,))
            for name, (to, shape) in IN_BLOCK.items():
                self.rest[f"blocks.{i}.{name}"] = self.powers(shape)
                self.names[f"blocks.{i}.{name}"] = [f"transformer_blocks.{i}.{to}"]
        for name, (to, shape) in REST.items():
            self.rest[name], self.names[name] = self.powers(shape), [to]

    def add_linear(self, name, rows, columns, levels):
        values = [-1, 0, 1] if levels == 3 else [-1, 1]
        self.trits[name] = self.random.choice(values, (rows, columns))
        self.scales[name] = self.random.integers(1, 128, (rows, columns // self.group)) / 256

    def powers(self, shape):
        signs = self.random.choice([-1, 0, 1], shape)
        return (signs * 2.0 ** self.random.integers(-6, 3, shape)).astype("<f4")

    def weights(self, name):
        """f32 [out, in] of a native module."""
        return (self.trits[name] * np.repeat(self.scales[name], self.group, axis=1)).astype("<f4")

    @property
    def diffusers(self):
        """name -> f32, with 1x1 convolutions as such."""
        tensors = {}
        for name in self.trits:
            to = self.names[name]
            for part, rows in zip(to, np.split(self.weights(name), len(to)), strict=True):
                tensors[f"{part}.weight"] = rows[..., None, None] if "conv" in part else rows
        for name, values in self.rest.items():
            module, bias = name.removesuffix(".bias"), name.endswith(".bias")
            if bias and module in self.trits:
                to = self.names[module]
                tensors |= {f"{part}.bias": rows for part, rows in
                            zip(to, np.split(values, len(to)), strict=True)}
            else:
                tensors[self.names[name][0]] = values
        return tensors

    def write_diffusers(self, folder, dtype="BF16"):
        write_json(folder / "transformer" / "config.json", CONFIG)
        save(folder / "transformer" / WEIGHTS, stored(self.diffusers, dtype))
        return folder

    def write_packed(self, folder, levels=3):
        """Packed by MLX's rules, as the ternariser writes it."""
        tensors = stored(self.diffusers, "BF16")
        bits = levels - 1
        for name, to in self.names.items():
            for i, part in enumerate(to if name in self.trits else ()):
                trits, scales = (np.split(values[name], len(to))[i]
                                 for values in (self.trits, self.scales))
                codes = trits + 1 if bits == 2 else (trits + 1) // 2
                tensors[f"{part}.weight"] = ("U32", pack_bits(codes.astype(np.uint8), bits))
                step = scales if bits == 2 else 2 * scales
                tensors[f"{part}.scales"] = ("BF16", bf16(step))
                tensors[f"{part}.biases"] = ("BF16", bf16(-scales))
        place = folder / "transformer-packed-mflux"
        write_json(place / "config.json", CONFIG)
        write_json(place / "quantization_config.json", {"bits": bits, "group_size": self.group})
        save(place / WEIGHTS, tensors)
        return folder

    def write_native(self, path, dtype="F32"):
        """The original code's file, full precision, with what only training needs."""
        tensors = {f"{name}.weight": self.weights(name)[..., None, None] if "conv" in name
                   else self.weights(name) for name in self.trits}
        extra = {"y_embedder.y_embedding": np.ones((3, TEXT), "<f4"),
                 "pos_embed": np.ones((1, 16, D), "<f4")}
        save(path, stored(tensors | self.rest | extra, dtype))
        return path

    def write_codes2b(self, path, prefix=""):
        """The GemLite pack that ComfyUI loads: f32 scales, matrices of the rest in FP8."""
        tensors = {}
        for name, trits in self.trits.items():
            codes = pack_bits((trits + 1).astype(np.uint8), 2).view(np.uint8)
            tensors[f"{name}::codes2b"] = ("U8", codes)
            tensors[f"{name}::scale"] = ("F32", self.scales[name])
            tensors[f"{name}::shape"] = ("I64", np.array(trits.shape))
        for name, values in self.rest.items():
            small = values.ndim > 1
            tensors[name] = ("F8_E4M3", fp8(values)) if small else ("BF16", bf16(values))
        save(path, {prefix + name: tensor for name, tensor in tensors.items()})
        return path


def stored(tensors, dtype):
    return {name: (dtype, bf16(values) if dtype == "BF16" else values)
            for name, values in tensors.items()}


def fp8(values):
    """e4m3fn of zeros and powers of two from 2**-6 on."""
    exponent = np.log2(np.abs(values), where=values != 0, out=np.full(values.shape, -7.0)) + 7
    return (np.where(values < 0, 128, 0) + (exponent.astype(int) << 3)).astype(np.uint8)
