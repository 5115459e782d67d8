"""The decoder half of AutoencoderKLFlux2: latent_sample [B, 4 C, h, w], as the denoiser leaves it,

-> sample [B, 3, H, W], -1 black, 1 white, not clipped. What diffusers' pipeline does before
vae.decode is part of it: the batch norm undone, 2 x 2 pixels unpacked. Reference: diffusers.
"""

import numpy as np

from export.onnx.graph import I64
from export.onnx.weights import F32

TABLES = ()
EPS = 1e-6  # diffusers' group norms
IN, OUT = ["latent_height", "latent_width"], ["height", "width"]


def configuration(c):
    """diffusers' AutoencoderKLFlux2; of its encoder nothing is there."""
    return {"_class_name": "AutoencoderKLFlux2", "patch_size": [2, 2]} | c.manifest()


def build(g, c):
    """c: AutoencoderConfig."""
    latents = g.input("latent_sample", F32, ["batch", 4 * c.latent_channels, *IN])
    x = g.op("DepthToSpace", denormalise(g, c, latents), blocksize=2, mode="CRD")
    if c.use_post_quant_conv:
        x = conv(g, x, "post_quant_conv")
    x = resnet(g, c, conv(g, x, "decoder.conv_in"), "decoder.mid_block.resnets.0")
    if c.mid_block_add_attention:
        x = attention(g, c, x, "decoder.mid_block.attentions.0")
    x = resnet(g, c, x, "decoder.mid_block.resnets.1")
    stages = len(c.block_out_channels)
    for i in range(stages):
        for j in range(c.layers_per_block + 1):
            x = resnet(g, c, x, f"decoder.up_blocks.{i}.resnets.{j}")
        if i < stages - 1:
            x = conv(g, double(g, x), f"decoder.up_blocks.{i}.upsamplers.0.conv")
    x = g.silu(group_norm(g, c, x, "decoder.conv_norm_out"))
    g.output("sample", conv(g, x, "decoder.conv_out"), ["batch", c.out_channels, *OUT])


def denormalise(g, c, latents):
    """latents * sqrt(variance + eps) + mean, by channel."""
    variance = g.op("Add", "bn.running_var", np.float32(c.batch_norm_eps))
    deviation, mean = (by_channel(g, part) for part in (g.op("Sqrt", variance), "bn.running_mean"))
    return g.op("Add", g.op("Mul", latents, deviation), mean)


def resnet(g, c, x, name):
    """x + conv(silu(norm(conv(silu(norm(x)))))), f32."""
    with g.scope(name):
        h = conv(g, g.silu(group_norm(g, c, x, f"{name}.norm1")), f"{name}.conv1")
        h = conv(g, g.silu(group_norm(g, c, h, f"{name}.norm2")), f"{name}.conv2")
        if f"{name}.conv_shortcut.weight" in g.weights.shapes:
            x = conv(g, x, f"{name}.conv_shortcut")
        return g.op("Add", x, h)


def attention(g, c, x, name):
    """One head as wide as the map, over all of its pixels; f32."""
    width = c.block_out_channels[-1]
    with g.scope(name):
        shape = g.op("Shape", x, element=I64)
        pixels = g.op("Reshape", group_norm(g, c, x, f"{name}.group_norm"), [0, width, -1])
        h = g.op("Transpose", pixels, perm=[0, 2, 1])                 # [B, P, C]
        q, k, v = (linear(g, h, f"{name}.{part}") for part in ("to_q", "to_k", "to_v"))
        q = g.op("Mul", q, np.float32(width**-0.5))
        a = g.attention(q, g.op("Transpose", k, perm=[0, 2, 1]), v)
        planes = g.op("Transpose", linear(g, a, f"{name}.to_out.0"), perm=[0, 2, 1])
        return g.op("Add", x, g.op("Reshape", planes, shape))


def linear(g, x, name):
    """f32"""
    return g.op("Add", g.cast(g.linear(x, name), F32), f"{name}.bias")


def conv(g, x, name):
    """[B, Cin, h, w] -> f32 [B, Cout, h, w], padded by zeros."""
    weight = g.weights[f"{name}.weight"]
    bias = g.cast(f"{name}.bias", weight.element)
    *_, side, _ = g.weights.shapes[f"{name}.weight"]
    y = g.op("Conv", g.cast(x, weight.element), weight, bias,
             kernel_shape=[side, side], pads=[side // 2] * 4)
    return g.cast(y, F32)


def group_norm(g, c, x, name):
    """f32. An instance norm over groups: onnxruntime has a kernel for it, and none for

    GroupNormalization, which it takes apart: 2.7 times as slow and half as exact.
    """
    groups = c.norm_num_groups
    shape = g.once("Shape", x, element=I64)
    rows = g.op("Reshape", x, [0, groups, -1])
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normed = g.op("InstanceNormalization", rows, ones, zeros, epsilon=EPS)
    maps = g.op("Reshape", normed, shape)
    weight, bias = (by_channel(g, f"{name}.{part}") for part in ("weight", "bias"))
    return g.op("Add", g.op("Mul", maps, weight), bias)


def by_channel(g, vector):
    """[C] -> [C, 1, 1]"""
    return g.op("Unsqueeze", vector, [1, 2])


def double(g, x):
    """Twice as wide and high, each pixel four times."""
    return g.op("Resize", x, None, np.array([1, 1, 2, 2], np.float32), mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor")
