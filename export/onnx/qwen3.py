"""Qwen3 as a text encoder: input_ids, attention_mask -> prompt_embeds, the chosen hidden states

side by side. Reference: transformers' Qwen3Model. B prompts, S tokens, D hidden size, H and Hkv
heads of width Dh.
"""

import numpy as np

from export.onnx.graph import BOOL, I64
from export.onnx.weights import F16, F32, ZERO, Value

TABLES = ("embed_tokens.weight",)  # whose rows are gathered
LOWEST = {F32: np.finfo(np.float32).min, F16: np.finfo(np.float16).min}
MASK = ["batch", "tokens"]


def configuration(c):
    """transformers' Qwen3Config, with the layers that are there."""
    return {
        "architectures": ["Qwen3Model"], "model_type": "qwen3", "hidden_act": "silu",
        "hidden_size": c.hidden_size, "num_hidden_layers": c.num_hidden_layers,
        "num_attention_heads": c.num_attention_heads,
        "num_key_value_heads": c.num_key_value_heads, "head_dim": c.head_dim,
        "intermediate_size": c.intermediate_size, "rms_norm_eps": c.rms_norm_eps,
        "rope_theta": c.rope_theta, "vocab_size": c.vocab_size,
    }


def build(g, c):
    """c: Qwen3Config."""
    ids = g.input("input_ids", I64, MASK)
    attended = g.input("attention_mask", I64, MASK)
    x = gather_rows(g, TABLES[0], ids)                                # f32 [B, S, D]
    positions = token_positions(g, ids)                               # i64 [S]
    mask = attention_mask(g, positions, attended)                     # [B, 1, 1, S, S]
    angles = rotary_angles(g, positions, ids, c)                      # cos and sin [B, S, Dh / 2]
    states = [x]
    for i in range(c.num_hidden_layers):
        with g.scope(f"layers.{i}"):
            x = layer(g, c, x, f"layers.{i}", angles, mask)
        last = i + 1 == c.total_hidden_layers
        states.append(g.rms_norm(x, "norm", c.rms_norm_eps) if last else x)
    rows = g.op("Concat", *(states[tap] for tap in c.taps), axis=-1)    # [B, S, taps * D]
    g.output("prompt_embeds", rows, [*MASK, len(c.taps) * c.hidden_size])


def layer(g, c, x, name, angles, mask):
    """One decoder layer on x, f32 [B, S, D]."""
    H, Hkv, Dh = c.num_attention_heads, c.num_key_value_heads, c.head_dim
    h = g.rms_norm(x, f"{name}.input_layernorm", c.rms_norm_eps)

    def heads(projection, count):
        """[B, S, count, Dh]"""
        return g.op("Reshape", g.linear(h, f"{name}.self_attn.{projection}"), [0, 0, count, Dh])

    def turned(projection, norm, count):
        """[B, count, S, Dh]"""
        normed = g.rms_norm(heads(projection, count), f"{name}.self_attn.{norm}", c.rms_norm_eps)
        rows = g.op("Transpose", normed, perm=[0, 2, 1, 3])
        return g.op("RotaryEmbedding", rows, *angles)

    # The query heads that share a key head make an axis of their own, [B, Hkv, H / Hkv, S, Dh].
    q = g.op("Mul", turned("q_proj", "q_norm", H), np.float32(Dh**-0.5))
    q = g.op("Reshape", q, [0, Hkv, H // Hkv, -1, Dh])
    k = g.op("Transpose", turned("k_proj", "k_norm", Hkv), perm=[0, 1, 3, 2])
    v = g.op("Transpose", heads("v_proj", Hkv), perm=[0, 2, 1, 3])
    a = g.attention(q, g.op("Unsqueeze", k, [2]), g.op("Unsqueeze", v, [2]), mask)
    a = g.op("Transpose", g.op("Reshape", a, [0, H, -1, Dh]), perm=[0, 2, 1, 3])
    a = g.linear(g.op("Reshape", a, [0, 0, H * Dh]), f"{name}.self_attn.o_proj")
    x = g.op("Add", x, g.cast(a, F32))
    h = g.rms_norm(x, f"{name}.post_attention_layernorm", c.rms_norm_eps)
    gate, up = (g.linear(h, f"{name}.mlp.{part}_proj") for part in ("gate", "up"))
    down = g.linear(g.swiglu(gate, up), f"{name}.mlp.down_proj")
    return g.op("Add", x, g.cast(down, F32))


def gather_rows(g, name, ids):
    """Rows of a table by ids [B, S]: f32 [B, S, D]."""
    table = g.weights[name]
    if isinstance(table, Value):
        return g.cast(g.op("Gather", table, ids), F32)
    codes = g.op("Gather", table.codes, ids)                          # u8 [B, S, D / block, bytes]
    if table.bits == 4:  # the first of two codes lies in the low half of a byte
        low = g.op("BitwiseAnd", codes, np.uint8(15))
        high = g.op("BitShift", codes, np.uint8(4), direction="RIGHT")
        halves = [g.op("Unsqueeze", half, [-1]) for half in (low, high)]
        codes = g.op("Concat", *halves, axis=-1)
    blocks = table.shape[1] // table.block
    codes = g.cast(g.op("Reshape", codes, [0, 0, blocks, table.block]), F32)
    values = g.op("Sub", codes, np.float32(ZERO[table.bits]))
    values = g.op("Mul", values, of_blocks(g, table.scales, ids))
    if table.rest:
        values = g.op("Add", values, of_blocks(g, table.rest, ids))
    return g.op("Reshape", values, [0, 0, table.shape[1]])


def of_blocks(g, part, ids):
    """The rows' scales or rests, f32 [B, S, D / block, 1]."""
    return g.op("Unsqueeze", g.cast(g.op("Gather", part, ids), F32), [-1])


def token_positions(g, ids):
    """0 .. S - 1"""
    count = g.op("Squeeze", g.op("Shape", ids, element=I64, start=1, end=2), [0])
    return g.op("Range", np.int64(0), count, np.int64(1))


def attention_mask(g, positions, attended):
    """0 where a token looks at an earlier one that is attended, else the lowest number."""
    later = g.op("Unsqueeze", positions, [1])                         # [S, 1]
    causal = g.op("GreaterOrEqual", later, positions, element=BOOL)   # [S, S]
    keys = g.op("Unsqueeze", g.cast(attended, BOOL), [1, 2, 3])       # [B, 1, 1, 1, S]
    seen = g.op("And", causal, keys)
    lowest = LOWEST[g.compute]
    return g.op("Where", seen, np.zeros_like(lowest), lowest, element=g.compute)


def rotary_angles(g, positions, ids, c):
    """cos and sin of position * theta^(-2 i / Dh), f32 [B, S, Dh / 2]."""
    half = c.head_dim // 2
    frequencies = (1.0 / c.rope_theta ** (np.arange(half) / half)).astype(np.float32)
    column = g.op("Unsqueeze", g.cast(positions, F32), [0, 2])
    angles = g.op("Mul", column, frequencies)                         # [1, S, Dh / 2]
    batch = g.op("Shape", ids, element=I64, start=0, end=1)
    angles = g.op("Expand", angles, g.op("Concat", batch, [1, 1], axis=0))
    return g.op("Cos", angles), g.op("Sin", angles)
