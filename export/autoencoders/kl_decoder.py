"""The decoder of AutoencoderKLFlux2 and AutoencoderKL in NumPy, for small pictures at export.

Reference: diffusers' autoencoder_kl_flux2.py and vae.py (Decoder). Pictures are channels-last,
[H, W, C] f32; convolutions [Cout, k, k, Cin], as they are packed.
"""

import numpy as np

EPS = np.float32(1e-6)  # of every group norm in diffusers' decoder


class Decoder:
    """`read(name)` returns a tensor of the decoder as f32; one at a time is held."""

    def __init__(self, config, read):
        self.config, self.read = config, read

    def decode(self, z):
        """Latents [H, W, C] -> pixels [scale_factor * H, scale_factor * W, 3], about -1 to 1."""
        stages = len(self.config.block_out_channels)
        x = self.conv(z, "post_quant_conv") if self.config.use_post_quant_conv else z
        x = self.conv(x, "decoder.conv_in")
        x = self.resnet(x, "decoder.mid_block.resnets.0")
        if self.config.mid_block_add_attention:
            x = self.attention(x, "decoder.mid_block.attentions.0")
        x = self.resnet(x, "decoder.mid_block.resnets.1")
        for i in range(stages):
            block = f"decoder.up_blocks.{i}"
            for j in range(self.config.layers_per_block + 1):
                x = self.resnet(x, f"{block}.resnets.{j}")
            if i < stages - 1:
                x = self.conv(x.repeat(2, axis=0).repeat(2, axis=1), f"{block}.upsamplers.0.conv")
        return self.conv(silu(self.norm(x, "decoder.conv_norm_out")), "decoder.conv_out")

    def resnet(self, x, name):
        h = self.conv(silu(self.norm(x, f"{name}.norm1")), f"{name}.conv1")
        h = self.conv(silu(self.norm(h, f"{name}.norm2")), f"{name}.conv2")
        return h + (x if h.shape == x.shape else self.conv(x, f"{name}.conv_shortcut"))

    def attention(self, x, name):
        h = self.norm(x, f"{name}.group_norm").reshape(-1, x.shape[-1])
        q, k, v = (self.linear(h, f"{name}.{part}") for part in ("to_q", "to_k", "to_v"))
        scores = q @ k.T * np.float32(x.shape[-1] ** -0.5)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed = weights @ v / weights.sum(axis=1, keepdims=True)
        return x + self.linear(mixed, f"{name}.to_out.0").reshape(x.shape)

    def linear(self, x, name):
        return x @ self.read(f"{name}.weight").T + self.read(f"{name}.bias")

    def conv(self, x, name):
        """Stride 1, zero padding; one tap of the filter at a time."""
        weight = self.read(f"{name}.weight")
        size = weight.shape[1]
        height, width, channels = x.shape
        padded = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
        y = np.zeros((height * width, len(weight)), np.float32)
        for dy in range(size):
            for dx in range(size):
                tap = padded[dy : dy + height, dx : dx + width].reshape(-1, channels)
                y += tap @ weight[:, dy, dx].T
        return (y + self.read(f"{name}.bias")).reshape(height, width, -1)

    def norm(self, x, name):
        """Group norm over the whole picture."""
        count = self.config.norm_num_groups
        groups = x.reshape(-1, count, x.shape[-1] // count)
        mean = groups.mean(axis=(0, 2), keepdims=True)
        deviation = np.sqrt(groups.var(axis=(0, 2), keepdims=True) + EPS)
        scaled = ((groups - mean) / deviation).reshape(x.shape)
        return scaled * self.read(f"{name}.weight") + self.read(f"{name}.bias")


def silu(x):
    with np.errstate(over="ignore"):  # an infinite exponential makes the zero that it should
        return x / (1 + np.exp(-x))
