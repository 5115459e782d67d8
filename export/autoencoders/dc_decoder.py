"""The decoder of AutoencoderDC in NumPy, for small pictures at export.

Reference: diffusers' autoencoder_dc.py (Decoder), SanaMultiscaleLinearAttention and GLUMBConv.
Pictures are channels-last, [H, W, C] f32; convolutions [Cout, k, k, Cin], depth-wise ones
[k, k, C], as they are packed.
"""

import numpy as np

EPS = np.float32(1e-5)  # of every norm in diffusers' decoder
ATTENTION_EPS = np.float32(1e-15)


class Decoder:
    """`read(name)` returns a tensor of the decoder as f32; one at a time is held."""

    def __init__(self, config, read):
        self.config, self.read = config, read

    def decode(self, z):
        """Latents [H, W, C] -> pixels [scale_factor * H, scale_factor * W, 3], about -1 to 1."""
        c = self.config
        x = self.conv(z, "decoder.conv_in", bias=True)
        if c.in_shortcut:
            x += z.repeat(x.shape[-1] // z.shape[-1], axis=-1)
        for i in c.stages():
            stage = f"decoder.up_blocks.{i}"
            if c.grows(i):
                repeats = 4 * c.block_out_channels[i] // x.shape[-1]
                shortcut = pixel_shuffle(x.repeat(repeats, axis=-1))
                x = self.enlarge(x, f"{stage}.0.conv") + shortcut
            for j in range(c.layers_per_block[i]):
                x = self.block(x, f"{stage}.{j + c.grows(i)}", i)
        x = ACTIVATIONS[c.conv_act_fn](self.norm(x, "decoder.norm_out"))
        if c.grows_last:
            return self.enlarge(x, "decoder.conv_out.conv")
        return self.conv(x, "decoder.conv_out", bias=True)

    def enlarge(self, x, name):
        if self.config.upsample_block_type == "interpolate":
            return self.conv(x.repeat(2, axis=0).repeat(2, axis=1), name, bias=True)
        return pixel_shuffle(self.conv(x, name, bias=True))

    def block(self, x, name, stage):
        if self.config.block_types[stage] == "ResBlock":
            act = ACTIVATIONS[self.config.act_fns[stage]]
            h = act(self.conv(x, f"{name}.conv1", bias=True))
            return x + self.norm(self.conv(h, f"{name}.conv2"), f"{name}.norm")
        x = x + self.attention(x, f"{name}.attn", stage)
        return x + self.glumb_conv(x, f"{name}.conv_out")

    def attention(self, x, name, stage):
        head = self.config.attention_head_dim
        parts = [x @ self.read(f"{name}.{part}.weight").T for part in ("to_q", "to_k", "to_v")]
        qkv = np.concatenate(parts, axis=-1)
        scales = [qkv]
        for i in range(len(self.config.qkv_multiscales[stage])):
            scale = f"{name}.to_qkv_multiscale.{i}"
            filtered = depthwise(qkv, self.read(f"{scale}.proj_in.weight"))
            groups = self.read(f"{scale}.proj_out.weight").reshape(-1, head, head)
            mixed = np.einsum("...gk,gok->...go", filtered.reshape(*x.shape[:2], -1, head), groups)
            scales.append(mixed.reshape(qkv.shape))
        together = np.concatenate(scales, axis=-1)              # [H, W, groups * 3 * head]
        groups = together.reshape(x.shape[0] * x.shape[1], -1, 3, head)
        q, k, v = groups.transpose(2, 1, 0, 3)                  # [groups, H * W, head] each
        q, k = np.maximum(q, 0), np.maximum(k, 0)
        total = q @ k.sum(axis=1)[..., None] + ATTENTION_EPS
        mixed = q @ (k.transpose(0, 2, 1) @ v) / total
        mixed = mixed.transpose(1, 0, 2).reshape(*x.shape[:2], -1)
        return self.norm(mixed @ self.read(f"{name}.to_out.weight").T, f"{name}.norm_out")

    def glumb_conv(self, x, name):
        h = silu(self.conv(x, f"{name}.conv_inverted", bias=True))
        h = depthwise(h, self.read(f"{name}.conv_depth.weight"))
        h, gate = np.split(h + self.read(f"{name}.conv_depth.bias"), 2, axis=-1)
        return self.norm(self.conv(h * silu(gate), f"{name}.conv_point"), f"{name}.norm")

    def conv(self, x, name, bias=False):
        """Stride 1, zero padding; one tap of the filter at a time."""
        weight = self.read(f"{name}.weight")
        height, width, channels = x.shape
        y = np.zeros((height * width, len(weight)), np.float32)
        for dy, dx, tap in taps(x, weight.shape[1]):
            y += tap.reshape(-1, channels) @ weight[:, dy, dx].T
        y = y.reshape(height, width, -1)
        return y + self.read(f"{name}.bias") if bias else y

    def norm(self, x, name):
        rms = np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + EPS)
        return x / rms * self.read(f"{name}.weight") + self.read(f"{name}.bias")


def taps(x, size):
    """dy, dx and x [H, W, C] moved by them, zeros around, for a filter of `size` by `size`."""
    height, width, _ = x.shape
    padded = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    for dy in range(size):
        for dx in range(size):
            yield dy, dx, padded[dy : dy + height, dx : dx + width]


def depthwise(x, weight):
    """weight [k, k, C]."""
    y = np.zeros_like(x)
    for dy, dx, tap in taps(x, len(weight)):
        y += tap * weight[dy, dx]
    return y


def pixel_shuffle(x):
    """[H, W, 4C] -> [2H, 2W, C]: channel 4c + 2dy + dx becomes pixel (dy, dx) of channel c."""
    height, width, channels = x.shape
    squares = x.reshape(height, width, channels // 4, 2, 2).transpose(0, 3, 1, 4, 2)
    return squares.reshape(2 * height, 2 * width, channels // 4)


def silu(x):
    with np.errstate(over="ignore"):  # an infinite exponential makes the zero that it should
        return x / (1 + np.exp(-x))


ACTIVATIONS = {"silu": silu, "relu": lambda x: np.maximum(x, 0), None: lambda x: x}
