"""The FLUX.2 denoiser under diffusers' names: hidden_states, encoder_hidden_states, timestep,

img_ids, txt_ids -> sample, the velocity. Reference: diffusers' Flux2Transformer2DModel. B pictures,
S text and L image tokens, T = S + L of both; D width, H heads of width Dh, F MLP width.
"""

import math

import numpy as np

from export.onnx.graph import I64
from export.onnx.weights import F32

TABLES = ()
TEXT, IMAGE, AXES = "text_tokens", "image_tokens", 4
STREAMS = {
    "txt": {"q": "add_q_proj", "k": "add_k_proj", "v": "add_v_proj", "norm_q": "norm_added_q",
            "norm_k": "norm_added_k", "out": "to_add_out", "mlp": "ff_context"},
    "img": {"q": "to_q", "k": "to_k", "v": "to_v", "norm_q": "norm_q", "norm_k": "norm_k",
            "out": "to_out.0", "mlp": "ff"},
}


def configuration(c):
    """diffusers' Flux2Transformer2DModel."""
    values = c.manifest() | {"patch_size": 1, "guidance_embeds": False}
    del values["mlp_hidden"]
    return {"_class_name": "Flux2Transformer2DModel"} | values


def build(g, c):
    """c: Flux2Config."""
    latents = g.input("hidden_states", F32, ["batch", IMAGE, c.in_channels])
    text = g.input("encoder_hidden_states", F32, ["batch", TEXT, c.joint_attention_dim])
    timestep = g.input("timestep", F32, ["batch"])
    image_ids = g.input("img_ids", I64, ["batch", IMAGE, AXES])
    text_ids = g.input("txt_ids", I64, ["batch", TEXT, AXES])
    silu_temb = g.silu(time_embedding(g, c, timestep))                # [B, D]
    angles = rotary_angles(g, c, g.op("Concat", text_ids, image_ids, axis=1))
    modulation = {
        "txt": modulate(g, silu_temb, "double_stream_modulation_txt", 6),
        "img": modulate(g, silu_temb, "double_stream_modulation_img", 6),
    }
    x = {
        "txt": g.cast(g.linear(text, "context_embedder"), F32),       # [B, S, D]
        "img": g.cast(g.linear(latents, "x_embedder"), F32),          # [B, L, D]
    }
    for i in range(c.num_layers):
        with g.scope(f"transformer_blocks.{i}"):
            x = double_block(g, c, x, f"transformer_blocks.{i}", modulation, angles)
    tokens = g.op("Concat", x["txt"], x["img"], axis=1)               # [B, T, D]
    single = modulate(g, silu_temb, "single_stream_modulation", 3)
    for i in range(c.num_single_layers):
        with g.scope(f"single_transformer_blocks.{i}"):
            name = f"single_transformer_blocks.{i}.attn"
            tokens = single_block(g, c, tokens, name, single, angles)
    texts = g.op("Shape", text, element=I64, start=1, end=2)
    image = g.op("Slice", tokens, texts, [np.iinfo(np.int64).max], [1])
    scale, shift = modulate(g, silu_temb, "norm_out", 2)
    velocity = g.linear(modulated_norm(g, c, image, shift, scale), "proj_out")
    g.output("sample", g.cast(velocity, F32), ["batch", IMAGE, c.out_channels])


def double_block(g, c, x, name, modulation, angles):
    """Attention over both streams with weights of their own, then their MLPs."""
    q, k, v, parts = [], [], [], {}
    for stream, names in STREAMS.items():
        shift, scale, *parts[stream] = modulation[stream]
        h = modulated_norm(g, c, x[stream], shift, scale)
        project = {part: g.linear(h, f"{name}.attn.{names[part]}") for part in "qkv"}
        q.append(heads(g, c, project["q"], f"{name}.attn.{names['norm_q']}"))
        k.append(heads(g, c, project["k"], f"{name}.attn.{names['norm_k']}"))
        v.append(heads(g, c, project["v"]))
    q, k, v = (g.op("Concat", *both, axis=2) for both in (q, k, v))   # [B, H, T, Dh]
    a = attend(g, c, q, k, v, angles)                                 # [B, T, D]
    texts = g.op("Shape", x["txt"], element=I64, start=1, end=2)
    end = [np.iinfo(np.int64).max]
    attended = {"txt": g.op("Slice", a, [0], texts, [1]), "img": g.op("Slice", a, texts, end, [1])}
    result = {}
    for stream, names in STREAMS.items():
        gate, shift, scale, mlp_gate = parts[stream]
        out = g.linear(attended[stream], f"{name}.attn.{names['out']}")
        tokens = gated_add(g, x[stream], gate, out)
        h = modulated_norm(g, c, tokens, shift, scale)
        gate_up = g.linear(h, f"{name}.{names['mlp']}.linear_in")     # [B, S or L, 2 F]
        hidden = g.swiglu(*g.op("Split", gate_up, count=2, axis=-1, num_outputs=2))
        out = g.linear(hidden, f"{name}.{names['mlp']}.linear_out")
        result[stream] = gated_add(g, tokens, mlp_gate, out)
    return result


def single_block(g, c, x, name, modulation, angles):
    """Attention and MLP side by side, from one fused projection and into another."""
    shift, scale, gate = modulation
    D, F = c.width, c.mlp_hidden
    fused = g.linear(modulated_norm(g, c, x, shift, scale), f"{name}.to_qkv_mlp_proj")
    q, k, v, mlp, up = g.op("Split", fused, [D, D, D, F, F], count=5, axis=-1)
    q, k = heads(g, c, q, f"{name}.norm_q"), heads(g, c, k, f"{name}.norm_k")
    a = attend(g, c, q, k, heads(g, c, v), angles)
    both = g.op("Concat", g.cast(a, fused.element), g.swiglu(mlp, up), axis=-1)
    return gated_add(g, x, gate, g.linear(both, f"{name}.to_out"))


def heads(g, c, x, norm=None):
    """[B, T, D] -> [B, H, T, Dh], each head normed, f32, or as attention takes it."""
    split = g.op("Reshape", x, [0, 0, c.num_attention_heads, c.attention_head_dim])
    split = g.rms_norm(split, norm, c.eps) if norm else g.cast(split, g.compute)
    return g.op("Transpose", split, perm=[0, 2, 1, 3])


def attend(g, c, q, k, v, angles):
    """[B, H, T, Dh] each -> [B, T, D]."""
    q, k = (g.op("RotaryEmbedding", rows, *angles, interleaved=1) for rows in (q, k))
    q = g.op("Mul", q, np.float32(c.attention_head_dim**-0.5))
    a = g.attention(q, g.op("Transpose", k, perm=[0, 1, 3, 2]), v)
    return g.op("Reshape", g.op("Transpose", a, perm=[0, 2, 1, 3]), [0, 0, c.width])


def modulated_norm(g, c, x, shift, scale):
    """(1 + scale) * norm(x) + shift; x f32 [B, T, D], shift and scale [B, 1, D]."""
    ones = np.ones(c.width, np.float32)
    normed = g.op("LayerNormalization", x, ones, epsilon=c.eps)
    return g.op("Add", g.op("Mul", normed, g.once("Add", scale, np.float32(1))), shift)


def gated_add(g, x, gate, y):
    """x + gate * y, f32."""
    return g.op("Add", x, g.op("Mul", gate, g.cast(y, F32)))


def modulate(g, silu_temb, name, parts):
    """`parts` vectors f32 [B, 1, D]."""
    row = g.cast(g.linear(silu_temb, f"{name}.linear"), F32)
    row = g.op("Unsqueeze", row, [1])
    return g.op("Split", row, count=parts, axis=-1, num_outputs=parts)


def time_embedding(g, c, timestep):
    """[B, D]; the frequencies are rounded to f32 where diffusers rounds them."""
    half = c.timestep_guidance_channels // 2
    exponents = np.float32(-math.log(10000)) * np.arange(half, dtype=np.float32)
    frequencies = np.exp((exponents / np.float32(half)).astype(float)).astype(np.float32)
    times = g.op("Unsqueeze", g.op("Mul", timestep, np.float32(1000)), [1])
    angles = g.op("Mul", times, frequencies)
    waves = g.op("Concat", g.op("Cos", angles), g.op("Sin", angles), axis=-1)
    embedder = "time_guidance_embed.timestep_embedder"
    return g.linear(g.silu(g.linear(waves, f"{embedder}.linear_1")), f"{embedder}.linear_2")


def rotary_angles(g, c, ids):
    """cos and sin for ids [B, T, 4], each axis with its own share: f32 [B, T, Dh / 2]."""
    positions = g.op("Split", g.cast(ids, F32), count=AXES, axis=-1, num_outputs=AXES)
    angles = []
    for position, axis in zip(positions, c.axes_dims_rope, strict=True):
        frequencies = 1.0 / c.rope_theta ** (np.arange(0, axis, 2) / axis)
        angles.append(g.op("Mul", position, frequencies.astype(np.float32)))
    angles = g.op("Concat", *angles, axis=-1)
    return g.op("Cos", angles), g.op("Sin", angles)
