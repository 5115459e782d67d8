"""The shortest correct float64 form of every kernel in wgsl/, under the kernel's own name."""

import numpy as np


def linear_dense(x, w, y=0.0):
    """x [M,K], w [N,K] -> [M,N]; y is what was there before, if the kernel adds."""
    return y + f64(x) @ f64(w).T


def linear_lowbit(x, codes, scales, zero, y=0.0):
    """codes [N,K] integers, scales [N,K/group]: w = scale * (code - zero)."""
    group = codes.shape[1] // scales.shape[1]
    return linear_dense(x, (codes - zero) * np.repeat(f64(scales), group, axis=1), y)


def linear_affine(x, codes, scales, biases, y=0.0):
    """codes [N,K] integers, scales and biases [N,K/group]: w = scale * code + bias."""
    group = codes.shape[1] // scales.shape[1]
    w = codes * np.repeat(f64(scales), group, axis=1) + np.repeat(f64(biases), group, axis=1)
    return linear_dense(x, w, y)


def layer_norm_modulate(x, scale, shift, eps):
    """x [M,D], scale and shift [D]."""
    x = f64(x)
    x = x - x.mean(axis=1, keepdims=True)
    return (1 + f64(scale)) * x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + eps) + shift


def rms_norm(x, w, eps):
    """x [M,D], w [D]."""
    x = f64(x)
    return x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + eps) * w


def rope(x, cos_sin, half_split):
    """x [T,H,Dh], cos_sin [T,Dh/2,2]: complex multiplication of the pairs."""
    x = f64(x)
    pairs = np.stack(np.split(x, 2, axis=-1), -1) if half_split else x.reshape(*x.shape[:2], -1, 2)
    turned = (pairs @ [1, 1j]) * (f64(cos_sin) @ [1, 1j])[:, None]
    axis = -2 if half_split else -1
    return np.stack([turned.real, turned.imag], axis).reshape(x.shape)


def attention(q, k, v, valid, scale, causal=False, q0=0):
    """q [Tq,Hq,DH], k and v [Tk,Hkv,DH] -> [Tq,Hq,DH]; keys j < valid, j <= q0 + i if causal."""
    q, k, v = f64(q), f64(k[:valid]), f64(v[:valid])
    k, v = (np.repeat(t, q.shape[1] // t.shape[1], axis=1) for t in (k, v))
    logits = scale * np.einsum("ihd,jhd->hij", q, k)
    if causal:
        hidden = np.arange(valid)[None, :] > q0 + np.arange(len(q))[:, None]
        logits = np.where(hidden, -np.inf, logits)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.einsum("hij,jhd->ihd", p / p.sum(axis=-1, keepdims=True), v)


def silu(x):
    x = f64(x)
    return x * np.exp(-np.logaddexp(0, -x))


def swiglu(gate, up):
    return silu(gate) * up


def gated_add(x, gate, y):
    """x and y [M,D], gate [D]."""
    return x + f64(gate) * y


def add_scaled(x, alpha, y):
    return x + alpha * f64(y)


def conv2d(x, w, bias, up=1, y=0.0):
    """x [H,W,Cin], w [Cout,KS,KS,Cin] -> [H*up,W*up,Cout]; nearest-neighbour upsampling first."""
    x = f64(x).repeat(up, axis=0).repeat(up, axis=1)
    height, width, _ = x.shape
    ks = w.shape[1]
    padded = np.pad(x, ((ks // 2, ks // 2), (ks // 2, ks // 2), (0, 0)))
    taps = [padded[i : i + height, j : j + width] @ f64(w[:, i, j]).T
            for i in range(ks) for j in range(ks)]
    return y + sum(taps) + bias


conv2d_ragged = conv2d  # another kernel, the same sum


def group_norm_stats(x, groups, chunk):
    """x [P,C] -> [ceil(P/chunk), G, 2]: mean, sum of squared deviations from it."""
    parts = [f64(x[p : p + chunk]).reshape(-1, groups, x.shape[1] // groups)
             for p in range(0, len(x), chunk)]
    return np.array([[part.mean(axis=(0, 2)), part.var(axis=(0, 2)) * part[:, 0].size]
                     for part in parts]).transpose(0, 2, 1)


def group_norm_merge(x, groups, eps):
    """x [P,C] -> [G,2]: mean and 1/sqrt(var + eps) over all pixels."""
    x = f64(x).reshape(len(x), groups, -1)
    return np.stack([x.mean(axis=(0, 2)), 1 / np.sqrt(x.var(axis=(0, 2)) + eps)], -1)


def group_norm_apply(x, stats, w, b):
    """x [P,C], stats [G,2] (mean, rstd), w and b [C]."""
    mean, rstd = np.repeat(f64(stats), x.shape[1] // len(stats), axis=0).T
    return (x - mean) * rstd * w + b


def unpatchify(tokens, mean, deviation, height, width):
    """tokens [h*w,4C], mean and deviation [4C] -> [2h,2w,C]; channel 4c+2dy+dx is (dy, dx, c)."""
    z = (f64(tokens) * deviation + mean).reshape(height, width, -1, 2, 2)
    return z.transpose(0, 3, 1, 4, 2).reshape(2 * height, 2 * width, -1)


def to_rgba(x):
    """x f32 [P,3] -> u32 [P]; in f32, step by step, as diffusers' image processor does."""
    x = np.clip(x / np.float32(2) + np.float32(0.5), 0, 1).astype(np.float32)
    r, g, b = np.round(x * np.float32(255)).astype(np.uint32).T
    return r | g << 8 | b << 16 | np.uint32(255 << 24)


def unpack_trits(data):
    """data u8 [n], 5 trits a byte, first in the lowest place -> trits u8 [5n]."""
    return (data[:, None] // 3 ** np.arange(5) % 3).astype(np.uint8).reshape(-1)


def f64(x):
    return np.asarray(x, np.float64)
