/**
 * One small case per kernel, with its answer computed in float64 by the shortest correct code.
 * A case is { dims, reads, start, expected }: inputs in binding order, the written buffer before
 * and after.
 * `o` are the variant's override values. Shapes are ragged on purpose: no multiple of any tile.
 */

/** Reproducible values in about -1..1. */
const wave = (count, phase) => Float32Array.from({ length: count },
  (_, i) => Math.sin(phase + 1.7 * i));
const zeros = (count) => new Float32Array(count);
const table = (count, f) => Float32Array.from({ length: count }, (_, i) => f(i));
const sum = (count, f) => Array.from({ length: count }, (_, i) => f(i)).reduce((a, b) => a + b, 0);
const sigmoid = (v) => 1 / (1 + Math.exp(-v));

/**
 * Floats as a weight buffer of FORMAT holds them (0 f32, 1 bf16, 2 f16), and the values that they
 * stand for.
 */
function stored(count, format, phase) {
  const values = wave(count, phase);
  const words = new Uint32Array(values.buffer.slice(0));
  if (format === 0) return { words, at: (i) => values[i] };
  const packed = new Uint16Array(2 * Math.ceil(count / 2));
  if (format === 1) {
    for (let i = 0; i < count; i++) packed[i] = words[i] >>> 16;
    const kept = new Float32Array(Uint32Array.from(words, (word) => word & 0xffff0000).buffer);
    return { words: new Uint32Array(packed.buffer), at: (i) => kept[i] };
  }
  for (let i = 0; i < count; i++) packed[i] = (i % 3 ? 0 : 0x8000) | 14 << 10 | (37 * i & 1023);
  return { words: new Uint32Array(packed.buffer),
    at: (i) => (i % 3 ? 0.5 : -0.5) * (1 + (37 * i & 1023) / 1024) };
}

/** y[M, N] = EPILOGUE of x . W[n0 + n, k0 + k]^T for any weight(n, k); `input` is how x is stored. */
function linearCase(o, { K, K_all, k0 }, reads, weight, { x = wave(5 * K, 0), input = x } = {}) {
  const [M, N, n0, gate_at] = [5, 6, 1, 3];
  const gate = wave(gate_at + N, 4);
  const start = wave(M * N, 2);
  const expected = table(M * N, (i) => {
    const r = sum(K, (k) => x[Math.floor(i / N) * K + k] * weight(n0 + i % N, k0 + k));
    return [r, start[i] + r, start[i] * sigmoid(start[i]) * r,
      start[i] + gate[gate_at + i % N] * r][o.EPILOGUE];
  });
  return { dims: { M, N, K, K_all, n0, k0, gate_at }, reads: [input, ...reads, gate], start,
    expected };
}

/** Codes for 8 rows of two groups. */
function packedCase(o, given) {
  const K_all = 2 * o.GROUP;
  const codes = Uint32Array.from({ length: 8 * K_all * o.BITS / 32 },
    (_, i) => Math.imul(i + 1, 2654435761));
  const [scales, biases] = [stored(8 * 2, o.FORMAT, 1), stored(8 * 2, o.FORMAT, 2)];
  const weight = (n, k) => {
    const bit = (n * K_all + k) * o.BITS;
    const code = codes[bit >> 5] >>> (bit & 31) & (1 << o.BITS) - 1;
    const g = n * 2 + Math.floor(k / o.GROUP);
    return scales.at(g) * (o.BIASED ? code : code - o.ZERO) + (o.BIASED ? biases.at(g) : 0);
  };
  return linearCase(o, { K: o.GROUP, K_all, k0: o.GROUP },
    [codes, scales.words, (o.BIASED ? biases : scales).words], weight, given);
}

/** Rows of K whole numbers up to 127, which bytes hold exactly, times a scale; and those bytes. */
function byteRows(M, K, stride) {
  const scale = 0.5;
  const bytes = Array.from({ length: M * K }, (_, i) => (i % K ? 37 * i % 255 - 127 : 127));
  const q = new Uint32Array(M * (K / 4 + 2));
  for (let m = 0; m < M; m++) {
    const row = m * (K / 4 + 2);
    for (let w = 0; w < K / 4; w++) {
      const first = m * K + Math.floor(w / stride) * 4 * stride + w % stride;
      for (let i = 0; i < 4; i++) q[row + w] |= (bytes[first + i * stride] & 255) << (8 * i);
    }
    q.set(new Uint32Array(Float32Array.of(scale).buffer), row + K / 4);
    q[row + K / 4 + 1] = sum(K, (k) => bytes[m * K + k]);
  }
  return { x: Float32Array.from(bytes, (byte) => scale * byte), q };
}

/**
 * Softmax attention of 5 queries over 7 keys of which the last may be masked, two query heads to
 * one key head.
 */
function attentionCase(o) {
  const [Tq, Tk, Hq, Hkv, q0] = [5, 7, 2, 1, 1];
  const valid = o.CAUSAL ? 6 : 7;
  const [q, k, v] = [wave(Tq * Hq * o.DH, 0), wave(Tk * o.DH, 1), wave(Tk * o.DH, 2)];
  const expected = zeros(q.length);
  for (let row = 0; row < Tq * Hq; row++) {
    const limit = o.CAUSAL ? Math.min(valid, q0 + Math.floor(row / Hq) + 1) : valid;
    const weights = Array.from({ length: limit },
      (_, j) => Math.exp(0.1 * sum(o.DH, (d) => q[row * o.DH + d] * k[j * o.DH + d])));
    const total = weights.reduce((a, b) => a + b, 0);
    for (let d = 0; d < o.DH; d++) {
      expected[row * o.DH + d] = sum(limit, (j) => weights[j] * v[j * o.DH + d]) / total;
    }
  }
  return { dims: { Tq, Tk, Hq, Hkv, valid, q0, scale: 0.1 }, reads: [q, k, v],
    start: zeros(q.length), expected };
}

/** Convolution of a 3 x 5 picture. */
const convCase = (Cin) => (o) => {
  const [H, W, Cout] = [3, 5, 6];
  const [Ho, Wo] = [o.UP * H, o.UP * W];
  const x = wave(H * W * Cin, 0);
  const w = stored(Cout * o.KS ** 2 * Cin, o.FORMAT, 1);
  const bias = wave(Cout, 2);
  const start = wave(Ho * Wo * Cout, 3);
  const expected = table(start.length, (i) => {
    const [row, column, c] = [Math.floor(i / Cout / Wo), Math.floor(i / Cout) % Wo, i % Cout];
    const conv = sum(o.KS ** 2 * Cin, (t) => {
      const y = row + Math.floor(t / Cin / o.KS) - (o.KS >> 1);
      const xx = column + Math.floor(t / Cin) % o.KS - (o.KS >> 1);
      if (y < 0 || y >= Ho || xx < 0 || xx >= Wo) return 0;
      const pixel = Math.floor(y / o.UP) * W + Math.floor(xx / o.UP);
      return w.at(c * o.KS ** 2 * Cin + t) * x[pixel * Cin + t % Cin];
    });
    return conv + bias[c] + (o.ADD ? start[i] : 0);
  });
  return { dims: { H, W, Cin, Cout, row0: 0, rows: Ho, y0: 0 }, reads: [x, w.words, bias],
    start, expected };
};

/** Of a 4 x 6 picture. */
function convDownCase(o) {
  const [H, W, Cin, Cout] = [4, 6, 4, 6];
  const x = wave(H * W * Cin, 0);
  const w = stored(Cout * 9 * Cin, o.FORMAT, 1);
  const bias = wave(Cout, 2);
  const expected = table(H * W / 4 * Cout, (i) => {
    const [row, column, c] = [Math.floor(i / Cout / 3), Math.floor(i / Cout) % 3, i % Cout];
    return bias[c] + sum(9 * Cin, (t) => {
      const y = 2 * row + Math.floor(t / Cin / 3);
      const xx = 2 * column + Math.floor(t / Cin) % 3;
      return y < H && xx < W ? w.at(c * 9 * Cin + t) * x[(y * W + xx) * Cin + t % Cin] : 0;
    });
  });
  return { dims: { H, W, Cin, Cout, row0: 0, rows: 2, y0: 0 }, reads: [x, w.words, bias],
    start: zeros(expected.length), expected };
}

/** Mean and variance of a list. */
function moments(values) {
  const mean = sum(values.length, (i) => values[i]) / values.length;
  return { mean, variance: sum(values.length, (i) => (values[i] - mean) ** 2) / values.length };
}

function layerNormCase() {
  const [M, D, eps] = [3, 70, 1e-6];
  const x = table(M * D, (i) => 3 + Math.sin(i));
  const modulation = wave(3 * D, 1);
  const expected = table(M * D, (i) => {
    const { mean, variance } = moments(x.subarray(i - i % D, i - i % D + D));
    return (1 + modulation[2 * D + i % D]) * (x[i] - mean) / Math.sqrt(variance + eps)
      + modulation[D + i % D];
  });
  return { dims: { M, D, shift_at: D, scale_at: 2 * D, eps }, reads: [x, modulation],
    start: zeros(M * D), expected };
}

function rmsNormCase() {
  const [M, D, eps] = [3, 70, 1e-6];
  const [x, w] = [wave(M * D, 0), wave(D, 1)];
  const expected = table(M * D, (i) => {
    const row = x.subarray(i - i % D, i - i % D + D);
    return x[i] * w[i % D] / Math.sqrt(sum(D, (d) => row[d] ** 2) / D + eps);
  });
  return { dims: { M, D, eps }, reads: [x, w], start: zeros(M * D), expected };
}

function rmsNormRopeCase(o) {
  const [T, H, Dh, t0, eps] = [3, 3, 8, 1, 1e-6];
  const [angles, x, w] = [wave((t0 + T) * Dh, 0), wave(T * H * Dh, 1), wave(Dh, 2)];
  const normed = table(x.length, (i) => {
    const head = x.subarray(i - i % Dh, i - i % Dh + Dh);
    return x[i] * w[i % Dh] / Math.sqrt(sum(Dh, (d) => head[d] ** 2) / Dh + eps);
  });
  const expected = zeros(x.length);
  for (let i = 0; i < T * H * Dh / 2; i++) {
    const [head, pair] = [Math.floor(i / (Dh / 2)), i % (Dh / 2)];
    const [a, b] = o.HALF_SPLIT ? [pair, pair + Dh / 2] : [2 * pair, 2 * pair + 1];
    const at = (t0 + Math.floor(head / H)) * Dh + 2 * pair;
    const [xa, xb] = [normed[head * Dh + a], normed[head * Dh + b]];
    expected[head * Dh + a] = xa * angles[at] - xb * angles[at + 1];
    expected[head * Dh + b] = xb * angles[at] + xa * angles[at + 1];
  }
  return { dims: { T, H, Dh, t0, eps }, reads: [x, w, angles], start: zeros(x.length), expected };
}

/** Two groups of three channels, chunks of four pixels of which the last is short. */
const GROUPS = { P: 10, C: 6, G: 2, chunk: 4 };
const groupPixels = () => table(GROUPS.P * GROUPS.C, (i) => 5 + Math.sin(1.3 * i));
const groupValues = (x, group, first, last) => x.slice(first * GROUPS.C, last * GROUPS.C)
  .filter((_, i) => Math.floor(i % GROUPS.C / 3) === group);

function groupPartials(x) {
  return table(3 * 2 * 2, (i) => {
    const first = 4 * Math.floor(i / 4);
    const values = groupValues(x, Math.floor(i / 2) % 2, first, Math.min(first + 4, GROUPS.P));
    const { mean, variance } = moments(values);
    return i % 2 ? variance * values.length : mean;
  });
}

function groupStats(x, eps) {
  return table(4, (i) => {
    const { mean, variance } = moments(groupValues(x, i >> 1, 0, GROUPS.P));
    return i % 2 ? 1 / Math.sqrt(variance + eps) : mean;
  });
}

function elementwise(reads, start, dims, f) {
  return { dims, reads, start, expected: table(start.length, (i) => f(start[i], i)) };
}

/** @type {Record<string, (overrides: Record<string, number>) => object>} */
export const CASES = {
  linear_packed: (o) => packedCase(o),
  linear_packed_few: (o) => packedCase(o),
  linear_packed_subgroup: (o) => packedCase(o),
  linear_packed_tiled: (o) => packedCase(o),
  linear_packed_int8(o) {
    const { x, q } = byteRows(5, o.GROUP, 8 / o.BITS);
    return packedCase(o, { x, input: q });
  },
  quantize_rows(o) {
    const { x, q } = byteRows(3, o.GROUP, o.STRIDE);
    return { dims: { M: 3, K: o.GROUP }, reads: [x], start: new Uint32Array(q.length), expected: q };
  },
  linear_dense(o) {
    const w = stored(8 * 24, o.FORMAT, 1);
    return linearCase(o, { K: 20, K_all: 24, k0: 4 }, [w.words], (n, k) => w.at(24 * n + k));
  },
  attention: attentionCase,
  attention_tiled: attentionCase,
  conv2d: convCase(4),
  conv2d_tiled: convCase(4),
  conv2d_ragged: convCase(3),
  conv2d_down: convDownCase,
  layer_norm_modulate: layerNormCase,
  rms_norm: rmsNormCase,
  rms_norm_rope: rmsNormRopeCase,
  group_norm_stats() {
    const x = groupPixels();
    return { dims: { ...GROUPS, first: 0 }, reads: [x], start: zeros(12),
      expected: groupPartials(x) };
  },
  group_norm_merge() {
    const x = groupPixels();
    return { dims: { ...GROUPS, eps: 1e-6 }, reads: [groupPartials(x)], start: zeros(4),
      expected: groupStats(x, 1e-6) };
  },
  group_norm_apply(o) {
    const x = groupPixels();
    const [stats, w, b] = [groupStats(x, 1e-6), wave(6, 1), wave(6, 2)];
    return elementwise([x, stats, w, b], zeros(60), { ...GROUPS, x0: 0, y0: 0 }, (_, i) => {
      const group = Math.floor(i % 6 / 3);
      const y = (x[i] - stats[2 * group]) * stats[2 * group + 1] * w[i % 6] + b[i % 6];
      return o.SILU ? y * sigmoid(y) : y;
    });
  },
  silu: () => elementwise([], wave(70, 0), { count: 70 }, (v) => v * sigmoid(v)),
  add_scaled() {
    const y = wave(70, 1);
    return elementwise([y], wave(70, 0), { count: 70, alpha: -0.3 },
      (v, i) => v + Math.fround(-0.3) * y[i]);
  },
  unpatchify() {
    const [h, w, C] = [2, 3, 4];
    const [tokens, mean, std] = [wave(h * w * 4 * C, 0), wave(4 * C, 1), wave(4 * C, 2)];
    return elementwise([tokens, mean, std], zeros(tokens.length), { h, w, C }, (_, i) => {
      const [row, column, c] = [Math.floor(i / C / (2 * w)), Math.floor(i / C) % (2 * w), i % C];
      const channel = 4 * c + 2 * (row % 2) + column % 2;
      const token = (row >> 1) * w + (column >> 1);
      return tokens[token * 4 * C + channel] * std[channel] + mean[channel];
    });
  },
  patchify() {
    const [h, w, C, Cz] = [2, 3, 4, 5];
    const [z, mean] = [wave(4 * h * w * Cz, 0), wave(4 * C, 1)];
    const deviation = table(4 * C, (i) => 1 + i / 8);
    return elementwise([z, mean, deviation], zeros(h * w * 4 * C), { h, w, C, Cz }, (_, i) => {
      const [token, c4] = [Math.floor(i / (4 * C)), i % (4 * C)];
      const row = 2 * Math.floor(token / w) + (c4 >> 1) % 2;
      const column = 2 * (token % w) + c4 % 2;
      return (z[(row * 2 * w + column) * Cz + (c4 >> 2)] - mean[c4]) / deviation[c4];
    });
  },
  to_rgba() {
    const x = Float32Array.of(-2, -1, 0, 0.5, 1, 2);
    return { dims: { P: 2 }, reads: [x], start: new Uint32Array(2),
      expected: Uint32Array.of(0xff800000, 0xffffffbf) };
  },
  unpack_trits() {
    const codes = Uint8Array.from({ length: 32 }, (_, i) => i * i % 3);
    const trits = new Uint8Array(8).map((_, b) => sum(5, (i) => (codes[5 * b + i] ?? 0) * 3 ** i));
    const words = Uint32Array.from({ length: 2 },
      (_, w) => sum(16, (i) => codes[16 * w + i] * 4 ** i));
    return { dims: { words: 2 }, reads: [new Uint32Array(trits.buffer)],
      start: new Uint32Array(2), expected: words };
  },
};
