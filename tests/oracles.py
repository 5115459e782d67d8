"""The shortest correct float64 form of every kernel in wgsl/, under the kernel's own name."""

import numpy as np

EPILOGUES = [  # r the product, y what was there before, gate [N]
    lambda r, y, gate: r,
    lambda r, y, gate: y + r,
    lambda r, y, gate: silu(y) * r,
    lambda r, y, gate: y + gate * r,
]


ACTIVATIONS = [  # none, silu, gelu_tanh, quick_gelu, relu
    lambda r: r,
    lambda r: silu(r),
    lambda r: r / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (r + 0.044715 * r**3))),
    lambda r: r * sigmoid(1.702 * r),
    lambda r: np.maximum(r, 0),
]


def linear_dense(x, w, epilogue=0, y=0.0, gate=0.0, bias=0.0, act=0):
    """x [M,K], w [N,K], gate and bias [N] -> [M,N]; y [M,N] is what was there before."""
    r = ACTIVATIONS[act](f64(x) @ f64(w).T + f64(bias))
    return EPILOGUES[epilogue](r, f64(y), f64(gate))


def linear_packed(x, codes, scales, zero, biases=None, **after):
    """codes [N,K] integers, scales and biases [N,K/group]: w = scale * code + bias, or without
    biases scale * (code - zero)."""
    scales = f64(scales)
    offsets = -zero * scales if biases is None else f64(biases)
    scales, offsets = (np.repeat(t, codes.shape[1] // t.shape[1], axis=1)
                       for t in (scales, offsets))
    return linear_dense(x, scales * codes + offsets, **after)


def quantize_rows(x, group, stride):
    """x [M,K] -> u32 [M, K/4 + 2K/group]: bytes, scales, sums of bytes, in float32."""
    groups = x.reshape(len(x), -1, group)
    largest = np.abs(groups).max(axis=-1, keepdims=True)
    values = np.rint(groups * (np.float32(127) / np.where(largest, largest, 1)))
    runs = values.reshape(len(x), -1, 4, stride).swapaxes(-1, -2)  # four bytes of a word together
    words = np.ascontiguousarray(runs).astype(np.int8).reshape(len(x), -1).view(np.uint32)
    scales = (largest[..., 0] / np.float32(127)).astype(np.float32).view(np.uint32)
    sums = values.sum(axis=-1).astype(np.int32).view(np.uint32)
    return np.concatenate([words, scales, sums], axis=1)


def layer_norm_modulate(x, scale, shift, eps):
    """x [M,D], scale and shift [D]."""
    x = f64(x)
    x = x - x.mean(axis=1, keepdims=True)
    return (1 + f64(scale)) * x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + eps) + shift


def layer_norm(x, w, b, eps):
    """x [M,D], w and b [D]."""
    return layer_norm_modulate(x, f64(w) - 1, b, eps)


def rms_norm(x, w, eps, b=0.0):
    """x [M,D], w and b [D]."""
    x = f64(x)
    return x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + eps) * w + b


def rms_norm_pixels(x, w, b, eps, act=0, y=0.0):
    """x [P,C], w and b [C]; y [P,C] is what is added to."""
    return y + ACTIVATIONS[act](rms_norm(x, w, eps, b))


def rms_norm_rope(x, w, eps, angles, half_split):
    """x [T,H,Dh], w [Dh], angles [T,Dh/2,2]: norm of heads, then rope."""
    x = rms_norm(x.reshape(-1, x.shape[-1]), w, eps).reshape(x.shape)
    return rope(x, angles, half_split)


def rope(x, angles, half_split):
    """x [T,H,Dh], angles [T,Dh/2,2]: complex multiplication of the pairs of a head."""
    x = f64(x)
    pairs = np.stack(np.split(x, 2, axis=-1), -1) if half_split else x.reshape(*x.shape[:2], -1, 2)
    turned = (pairs @ [1, 1j]) * (f64(angles) @ [1, 1j])[:, None]
    axis = -2 if half_split else -1
    return np.stack([turned.real, turned.imag], axis).reshape(x.shape)


def attention(q, k, v, valid, scale, causal=False, q0=0, softcap=0, window=0, bias=None):
    """q [Tq,Hq,DH], k and v [Tk,Hkv,DH], bias [Hq,Tq,Tk] -> [Tq,Hq,DH]; keys j < valid, j <= q0 + i
    if causal, j > q0 + i - window if window; 0 for a query that has none."""
    q, k, v = f64(q), f64(k[:valid]), f64(v[:valid])
    k, v = (np.repeat(t, q.shape[1] // t.shape[1], axis=1) for t in (k, v))
    logits = scale * np.einsum("ihd,jhd->hij", q, k)
    if softcap:
        logits = softcap * np.tanh(logits / softcap)
    if bias is not None:
        logits += bias[:, :, :valid]
    key, query = np.arange(valid)[None, :], q0 + np.arange(len(q))[:, None]
    hidden = causal & (key > query) | (window > 0) & (key <= query - window)
    logits = np.where(hidden, -np.inf, logits)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-1e300))
    return np.einsum("hij,jhd->ihd", p / np.maximum(p.sum(axis=-1, keepdims=True), 1e-300), v)


def linear_attention_sums(k, v, slice_tokens):
    """k, v [T,H,DH] -> [ceil(T/slice), H, DH+1, DH]: sums of relu(k) (v, 1)^T, transposed."""
    k, v = np.maximum(f64(k), 0), f64(v)
    v = np.concatenate([v, np.ones_like(v[..., :1])], axis=-1)
    parts = [slice(t, t + slice_tokens) for t in range(0, len(k), slice_tokens)]
    sums = np.stack([np.einsum("thj,thi->hji", k[part], v[part]) for part in parts])
    return np.concatenate([sums[..., :-1], sums[..., -1][..., None, :]], axis=-2)


def linear_attention_merge(partials):
    """partials [slices, ...] -> their sum."""
    return f64(partials).sum(axis=0)


def linear_attention_apply(q, sums):
    """q [T,H,DH], sums [H,DH+1,DH] -> [T,H,DH]."""
    q = np.maximum(f64(q), 0)
    above = np.einsum("thj,hji->thi", q, f64(sums)[:, :-1])
    return above / (np.einsum("thj,hj->th", q, f64(sums)[:, -1])[..., None] + 1e-15)


def linear_attention(q, k, v):
    """q, k, v [T,H,DH] -> [T,H,DH], by the T x T matrix: weights relu(q) . relu(k), no softmax."""
    q, k = np.maximum(f64(q), 0), np.maximum(f64(k), 0)
    weights = np.einsum("thd,shd->hts", q, k)
    below = weights.sum(axis=-1).T[..., None] + 1e-15
    return np.einsum("hts,shd->thd", weights, f64(v)) / below


def silu(x):
    return f64(x) * sigmoid(x)


def relu(x):
    return np.maximum(f64(x), 0)


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -f64(x)))


def add_scaled(x, alpha, y):
    return x + alpha * f64(y)


def add_row(x, row):
    """x [M,D], row [D]."""
    return f64(x) + row


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


def conv2d_down(x, w, bias):
    """x [H,W,Cin], w [Cout,3,3,Cin] -> [H/2,W/2,Cout]: every other row and column of outputs, zeros
    below and to the right of x."""
    height, width, _ = x.shape
    padded = np.pad(f64(x), ((0, 1), (0, 1), (0, 0)))
    taps = [padded[i : i + height - 1 : 2, j : j + width - 1 : 2] @ f64(w[:, i, j]).T
            for i in range(3) for j in range(3)]
    return sum(taps) + bias


def depthwise(x, w, bias=0.0, gated=False):
    """x [H,W,C], w [KS,KS,C] -> [H,W,C], zeros around; gated: halves a and b of the channels, and
    a * silu(b) [H,W,C/2]."""
    height, width, _ = x.shape
    ks = len(w)
    padded = np.pad(f64(x), ((ks // 2, ks // 2), (ks // 2, ks // 2), (0, 0)))
    y = bias + sum(padded[i : i + height, j : j + width] * f64(w[i, j])
                   for i in range(ks) for j in range(ks))
    if not gated:
        return y
    a, b = np.split(y, 2, axis=-1)
    return a * silu(b)


def linear_grouped(x, w):
    """x [P,C], w [C,K] -> [P,C]: a matrix of its own for each K channels."""
    groups, k = f64(x).reshape(len(x), -1, w.shape[1]), w.shape[1]
    return np.einsum("pgk,gok->pgo", groups, f64(w).reshape(-1, k, k)).reshape(x.shape)


def place_channels(x, y, first):
    """x [P,C] in place of channels first .. first + C - 1 of y [P,Cy]."""
    return np.concatenate([y[:, :first], x, y[:, first + x.shape[1] :]], axis=1)


def pixel_shuffle(x, up, repeat, y=0.0):
    """x [H,W,Cin] -> [H*up,W*up,Cin*repeat/up²]; each channel repeated, then up² of them become
    the pixels of a square; y is what is added to."""
    height, width, _ = x.shape
    squares = f64(x).repeat(repeat, axis=2).reshape(height, width, -1, up, up)
    shuffled = squares.transpose(0, 3, 1, 4, 2)
    return y + shuffled.reshape(height * up, width * up, -1)


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


def patchify(z, mean, deviation):
    """z [2h,2w,Cz], mean and deviation [4C] -> tokens [h*w,4C] of the first C channels: the inverse
    of unpatchify."""
    z = f64(z)[..., : len(mean) // 4]
    height, width, channels = z.shape
    blocks = z.reshape(height // 2, 2, width // 2, 2, channels).transpose(0, 2, 4, 1, 3)
    return (blocks.reshape(-1, 4 * channels) - mean) / deviation


def to_rgba(x):
    """x f32 [P,3] -> u32 [P]; in f32, step by step, as diffusers' image processor does. 0 where a
    colour is no number."""
    finite = np.isfinite(x).all(axis=1)
    x = np.where(finite[:, None], x, np.float32(0))
    x = np.clip(x / np.float32(2) + np.float32(0.5), 0, 1).astype(np.float32)
    r, g, b = np.round(x * np.float32(255)).astype(np.uint32).T
    return np.where(finite, r | g << 8 | b << 16 | np.uint32(255 << 24), np.uint32(0))


def unpack_trits(data):
    """data u8 [n], 5 trits a byte, first in the lowest place -> trits u8 [5n]."""
    return (data[:, None] // 3 ** np.arange(5) % 3).astype(np.uint8).reshape(-1)


def f64(x):
    return np.asarray(x, np.float64)
