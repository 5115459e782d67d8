"""A random model in the shapes of Bonsai Image 4B, or tiny, whose tensors are made when asked for.

Names and shapes are those of diffusers' and transformers' own classes. Every tensor follows from
its name and the variant alone, so that all layouts hold the same model. Floats are bf16, as u16;
low-bit weights are codes and scales in groups of 128 inputs.
"""

import functools
import zlib

import numpy as np
import torch
from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from transformers import Qwen3Config, Qwen3Model

GROUP, TEXT_GROUP = 128, 64
CHUNK = 1 << 24  # values in memory at a time
TRANSFORMER = {
    "full": {
        "in_channels": 128, "num_layers": 5, "num_single_layers": 20, "attention_head_dim": 128,
        "num_attention_heads": 24, "joint_attention_dim": 7680, "mlp_ratio": 3.0,
        "axes_dims_rope": (32, 32, 32, 32), "rope_theta": 2000, "guidance_embeds": False,
    },
    "tiny": {
        "in_channels": 16, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 32,
        "num_attention_heads": 4, "joint_attention_dim": 128, "mlp_ratio": 3.0,
        "axes_dims_rope": (8, 8, 8, 8), "rope_theta": 2000, "guidance_embeds": False,
    },
}
TEXT_ENCODER = {
    "full": {
        "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728, "vocab_size": 151936,
    },
    "tiny": {
        "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128, "vocab_size": 1024,
    },
}
AUTOENCODER = {
    "full": {"block_out_channels": (128, 256, 512, 512)},
    "tiny": {"block_out_channels": (8, 12), "latent_channels": 4, "layers_per_block": 1,
             "norm_num_groups": 4},
}
CALL = {  # trefoil.json
    "full": {},
    "tiny": {"text_encoder_out_layers": [1, 2], "max_sequence_length": 64, "width": 32,
             "height": 32, "sizes": [[32, 32]]},
}


def round_bf16(values):
    """f32 -> bf16 as u16, to nearest."""
    return ((np.ascontiguousarray(values, "<f4").view("<u4") + 0x8000) >> 16).astype("<u2")


def widen_bf16(stored):
    return (stored.astype("<u4") << 16).view("<f4")


class Model:
    """Configurations, shapes and tensors; `name`s begin with their component's."""

    def __init__(self, scale="full", variant="ternary"):
        self.variant, self.levels = variant, {"ternary": 3, "binary": 2}[variant]
        self.bits = self.levels - 1
        self.call = CALL[scale]
        stages = len(AUTOENCODER[scale]["block_out_channels"])
        with torch.device("meta"):
            transformer = Flux2Transformer2DModel(**TRANSFORMER[scale])
            vae = AutoencoderKLFlux2(
                down_block_types=("DownEncoderBlock2D",) * stages,
                up_block_types=("UpDecoderBlock2D",) * stages, **AUTOENCODER[scale],
            )
            text = Qwen3Model(Qwen3Config(**TEXT_ENCODER[scale]))
        self.transformer, self.text_encoder, self.vae = map(shapes_of, (transformer, text, vae))
        self.configs = {"transformer": dict(transformer.config), "vae": dict(vae.config)}
        self.configs["text_encoder"] = {
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
            "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": True,
        } | TEXT_ENCODER[scale]

    def random(self, name, chunk=0):
        return np.random.default_rng([zlib.crc32(name.encode()), chunk])

    def is_lowbit(self, name):
        return len(self.transformer[name]) == 2 and "transformer_blocks." in name

    @functools.lru_cache(maxsize=1)  # noqa: B019  (one tensor, written in up to three parts)
    def lowbit(self, name):
        """codes u8 [N, K] and scales f32 [N, K/128]: w = scale * (code - 1) or scale * (2 code - 1)

        The first group of the first weight is all zero in a ternary model: scale 0.
        """
        rows, columns = self.transformer[name]
        random = self.random(name)
        codes = random.integers(0, self.levels, (rows, columns), np.uint8)
        size = (1.5 if self.levels == 3 else 1.0) ** 0.5 / columns**0.5
        scales = size * np.exp(0.3 * random.standard_normal((rows, columns // GROUP), np.float32))
        scales = widen_bf16(round_bf16(scales))
        if self.levels == 3 and name == "transformer_blocks.0.attn.to_q.weight":
            codes[0, :GROUP], scales[0, 0] = 1, 0
        return codes, scales

    def weights(self, name):
        """A low-bit weight as bf16 [N, K]."""
        codes, scales = self.lowbit(name)
        table = np.array([-1, 0, 1] if self.levels == 3 else [-1, 1], np.float32)[codes]
        grouped = table.reshape(*scales.shape, GROUP)
        grouped *= scales[..., None]
        return round_bf16(table)

    def floats(self, name, shape):
        """Chunks of rows of any other tensor, bf16: norms near one, weights by their fan-in."""
        rows = shape[0] if shape else 1
        row = int(np.prod(shape[1:]))
        step = max(1, CHUNK // row)
        for chunk, first in enumerate(range(0, rows, step)):
            size = (min(step, rows - first), *shape[1:])
            values = self.random(name, chunk).standard_normal(size, np.float32)
            yield round_bf16(self.scaled(name, shape, values))

    def scaled(self, name, shape, values):
        if len(shape) > 1:
            return values / row_length(shape) ** 0.5
        if name.endswith("running_var"):
            return np.exp(0.3 * values)
        centre = 0.0 if name.endswith(("bias", "running_mean")) else 1.0
        return centre + 0.1 * values

    def text_chunks(self, name):
        """(chunk, rows in it) of a text-encoder weight."""
        rows, columns = self.text_encoder[name]
        step = max(1, CHUNK // columns)
        return enumerate(min(step, rows - first) for first in range(0, rows, step))

    def text_codes(self, name):
        """Chunks of codes u8 [n, K] of 16."""
        columns = self.text_encoder[name][1]
        for chunk, rows in self.text_chunks(name):
            yield self.random(name, chunk).integers(0, 16, (rows, columns), np.uint8)

    def text_scales(self, name):
        """Chunks of scales bf16 [n, K/64] under which codes around 7.5 keep a signal's size."""
        columns = self.text_encoder[name][1]
        for chunk, rows in self.text_chunks(name):
            random = self.random(f"{name} scales", chunk)
            spread = random.standard_normal((rows, columns // TEXT_GROUP), np.float32)
            yield round_bf16(np.exp(0.2 * spread) / (4.6 * columns**0.5))


def row_length(shape):
    return int(np.prod(shape[1:]))


def shapes_of(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}
