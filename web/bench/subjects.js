/**
 * The ops that can be timed. Each says what a run costs, makes its numbers, puts them on the GPU,
 * records one run, and knows any element of the result in float64.
 */
import { MAP_SUBJECTS } from './map_subjects.js';
import { keep, packedMatrix, sum, uniform, weightBytes, ZERO } from './numbers.js';

const EPS = 1e-6;

/** @typedef {import('./shapes.js').Row} Row */
/** @typedef {Record<string, any>} Numbers an op's own, by name */

/**
 * @typedef {object} Subject
 * @property {(row: Row) => number} flop operations of a run
 * @property {(row: Row) => number} bytes that a run must read and write at least
 * @property {(row: Row, random: () => number) => Numbers} numbers of a run, on the CPU
 * @property {(ops: import('../engine/ops.js').Ops, row: Row, numbers: Numbers) =>
 *   (g: import('../engine/ops.js').Ops) => object} upload puts them on the GPU; what it returns
 *   records one run and returns the result
 * @property {(row: Row) => number} count elements of the result
 * @property {(row: Row, numbers: Numbers, i: number) => number} element of the result, float64
 */

const sigmoid = (v) => 1 / (1 + Math.exp(-v));

/** As the engine's linear names them. @type {Record<string, (r: number) => number>} */
const ACTIVATIONS = {
  none: (r) => r,
  silu: (r) => r * sigmoid(r),
  gelu_tanh: (r) => r / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (r + 0.044715 * r ** 3))),
  quick_gelu: (r) => r * sigmoid(1.702 * r),
  relu: (r) => Math.max(r, 0),
};

/** @type {Record<string, Subject>} */
export const SUBJECTS = {
  ...MAP_SUBJECTS,

  linear: {
    flop: ({ M, N, K }) => 2 * M * N * K,
    bytes: (row) => weightBytes(row) + 4 * row.M * (row.K + row.N),
    numbers: (row, random) => ({
      x: uniform(row.M * row.K, random),
      ...(row.bias && { bias: uniform(row.N, random) }),
      ...(row.storage in ZERO ? packedMatrix(row, random)
        : { dense: keep(uniform(row.N * row.K, random, row.K ** -0.5), row.storage) }),
    }),
    upload(ops, { M, N, K, storage, group, scales: scalesDtype, act },
      { x, bias, dense, words, scaleWords, biasWords }) {
      const put = (data, label) => data && ops.upload(data, [data.length], label);
      const weight = { label: 'bench', shape: [N, K], count: N * K, storage, group, scalesDtype,
        codes: put(words, 'codes'), scales: put(scaleWords, 'scales'),
        biases: put(biasWords, 'biases'), data: put(dense?.words, 'weights') };
      const input = ops.upload(x, [M, K], 'input');
      const after = { act, ...(bias && { bias: put(bias, 'bias') }) };
      return (g) => g.linear(input, weight, after);
    },
    count: ({ M, N }) => M * N,
    element({ N, K, group, act = 'none' }, { x, bias, dense, codes, zero, scales }, i) {
      const [m, n] = [Math.floor(i / N), i % N];
      const product = sum(K, (k) => x[m * K + k] * (dense ? dense.values[n * K + k]
        : scales[Math.floor((n * K + k) / group)] * (codes[n * K + k] - zero)));
      return ACTIVATIONS[act](product + (bias?.[n] ?? 0));
    },
  },

  attention: {
    flop: ({ Tq, Tk, Hq, Dh, causal }) => 4 * Tq * Tk * Hq * Dh / (causal ? 2 : 1),
    bytes: ({ Tq, Tk, Hq, Hkv, Dh }) => 4 * Dh * (2 * Tq * Hq + 2 * Tk * Hkv),
    numbers: ({ Tq, Tk, Hq, Hkv, Dh, bias }, random) => ({
      q: uniform(Tq * Hq * Dh, random, 2), k: uniform(Tk * Hkv * Dh, random, 2),
      v: uniform(Tk * Hkv * Dh, random),
      ...(bias && { bias: uniform(Hq * (Tq + Tk - 1), random) }),
    }),
    upload(ops, { Tq, Tk, Hq, Hkv, Dh, causal, softcap }, { q, k, v, bias }) {
      const [query, key, value] = [ops.upload(q, [Tq, Hq * Dh], 'q'),
        ops.upload(k, [Tk, Hkv * Dh], 'k'), ops.upload(v, [Tk, Hkv * Dh], 'v')];
      const options = { headWidth: Dh, causal, softcap,
        ...(bias && { bias: ops.upload(bias, [Hq, Tq + Tk - 1], 'bias') }) };
      return (g) => g.attention(query, key, value, options);
    },
    count: ({ Tq, Hq, Dh }) => Tq * Hq * Dh,
    element({ Tq, Tk, Hq, Hkv, Dh, causal, softcap }, { q, k, v, bias }, i) {
      const [t, h, d] = [Math.floor(i / (Hq * Dh)), Math.floor(i / Dh) % Hq, i % Dh];
      const kv = (s) => (s * Hkv + Math.floor(h * Hkv / Hq)) * Dh;
      const scores = Array.from({ length: causal ? t + 1 : Tk },
        (_, s) => {
          const r = sum(Dh, (e) => q[(t * Hq + h) * Dh + e] * k[kv(s) + e]) / Math.sqrt(Dh);
          return (softcap ? softcap * Math.tanh(r / softcap) : r)
            + (bias?.[h * (Tq + Tk - 1) + Tq - 1 + s - t] ?? 0);
        });
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      return sum(scores.length, (s) => weights[s] * v[kv(s) + d])
        / sum(scores.length, (s) => weights[s]);
    },
  },

  conv2d: {
    flop: ({ H, W, Cin, Cout, KS, up }) => 2 * up * up * H * W * Cout * KS * KS * Cin,
    bytes: ({ H, W, Cin, Cout, KS, up, storage }) => 4 * H * W * (Cin + up * up * Cout)
      + weightBytes({ N: Cout, K: KS * KS * Cin, storage }),
    numbers: ({ H, W, Cin, Cout, KS, storage }, random) => ({
      x: uniform(H * W * Cin, random), bias: uniform(Cout, random),
      weight: keep(uniform(Cout * KS * KS * Cin, random, (KS * KS * Cin) ** -0.5), storage),
    }),
    upload(ops, { H, W, Cin, Cout, KS, up, storage }, { x, bias, weight }) {
      const count = Cout * KS * KS * Cin;
      const parts = { up, bias: ops.upload(bias, [Cout], 'bias'), weight: { label: 'bench', count,
        shape: [Cout, KS, KS, Cin], storage,
        data: ops.upload(weight.words, [weight.words.length], 'weights') } };
      const input = ops.upload(x, [H, W, Cin], 'input');
      return (g) => g.conv2d(input, parts);
    },
    count: ({ H, W, Cout, up }) => up * up * H * W * Cout,
    element({ H, W, Cin, Cout, KS, up }, { x, bias, weight }, i) {
      const [pixel, o] = [Math.floor(i / Cout), i % Cout];
      const [row, column, halo] = [Math.floor(pixel / (up * W)), pixel % (up * W), KS >> 1];
      return bias[o] + sum(KS * KS, (tap) => {
        const [r, c] = [row + Math.floor(tap / KS) - halo, column + tap % KS - halo];
        if (r < 0 || c < 0 || r >= up * H || c >= up * W) return 0;
        const from = (Math.floor(r / up) * W + Math.floor(c / up)) * Cin;
        return sum(Cin, (e) => x[from + e] * weight.values[(o * KS * KS + tap) * Cin + e]);
      });
    },
  },

  layerNormModulate: {
    flop: ({ M, D }) => 8 * M * D,
    bytes: ({ M, D }) => 8 * M * D,
    numbers: ({ M, D }, random) => ({
      x: uniform(M * D, random), modulation: uniform(2 * D, random),
    }),
    upload(ops, { M, D }, { x, modulation }) {
      const input = ops.upload(x, [M, D], 'input');
      const vector = ops.upload(modulation, [2 * D], 'modulation');
      return (g) => g.layerNormModulate(input, vector, { shift: 0, scale: 1 }, EPS);
    },
    count: ({ M, D }) => M * D,
    element({ D }, { x, modulation }, i) {
      const { mean, variance } = rowMoments(x, D, i);
      return (1 + modulation[D + i % D]) * (x[i] - mean) / Math.sqrt(variance + EPS)
        + modulation[i % D];
    },
  },

  rmsNorm: {
    flop: ({ M, D }) => 4 * M * D,
    bytes: ({ M, D }) => 8 * M * D,
    numbers: ({ M, D, bias }, random) => ({ x: uniform(M * D, random), weight: uniform(D, random),
      ...(bias && { bias: uniform(D, random) }) }),
    upload(ops, { M, D }, { x, weight, bias }) {
      const input = ops.upload(x, [M, D], 'input');
      const scale = ops.upload(weight, [D], 'weight');
      const options = bias && { bias: ops.upload(bias, [D], 'bias') };
      return (g) => g.rmsNorm(input, scale, EPS, options);
    },
    count: ({ M, D }) => M * D,
    element({ D }, { x, weight, bias }, i) {
      const from = i - i % D;
      return weight[i % D] * x[i] / Math.sqrt(sum(D, (e) => x[from + e] ** 2) / D + EPS)
        + (bias?.[i % D] ?? 0);
    },
  },

  layerNorm: {
    flop: ({ M, D }) => 8 * M * D,
    bytes: ({ M, D }) => 8 * M * D,
    numbers: ({ M, D }, random) => ({ x: uniform(M * D, random), weight: uniform(D, random),
      bias: uniform(D, random) }),
    upload(ops, { M, D }, { x, weight, bias }) {
      const inputs = [ops.upload(x, [M, D], 'input'), ops.upload(weight, [D], 'weight'),
        ops.upload(bias, [D], 'bias')];
      return (g) => g.layerNorm(...inputs, EPS);
    },
    count: ({ M, D }) => M * D,
    element({ D }, { x, weight, bias }, i) {
      const { mean, variance } = rowMoments(x, D, i);
      return weight[i % D] * (x[i] - mean) / Math.sqrt(variance + EPS) + bias[i % D];
    },
  },

  /** Of a copy, since it is in place: the copy is timed, too. */
  rope: {
    flop: ({ T, H, Dh }) => 3 * T * H * Dh,
    bytes: ({ T, H, Dh }) => 4 * T * Dh * (4 * H + 1),
    numbers: ({ T, H, Dh }, random) => ({ x: uniform(T * H * Dh, random),
      angles: uniform(T * Dh, random) }),
    upload(ops, { T, H, Dh, halfSplit }, { x, angles }) {
      const input = ops.upload(x, [T, H * Dh], 'input');
      const turns = ops.upload(angles, [T, Dh / 2, 2], 'angles');
      return (g) => g.rope(g.clone(input), turns, { headWidth: Dh, halfSplit });
    },
    count: ({ T, H, Dh }) => T * H * Dh,
    element({ H, Dh, halfSplit }, { x, angles }, i) {
      const [t, d] = [Math.floor(i / (H * Dh)), i % Dh];
      const [pair, second, apart] = halfSplit
        ? [d % (Dh / 2), d >= Dh / 2, Dh / 2] : [d >> 1, d % 2 === 1, 1];
      const [cos, sin] = angles.subarray(t * Dh + 2 * pair);
      return second ? x[i] * cos + x[i - apart] * sin : x[i] * cos - x[i + apart] * sin;
    },
  },

  groupNorm: {
    flop: ({ H, W, C }) => 8 * H * W * C,
    bytes: ({ H, W, C }) => 8 * H * W * C,
    numbers: ({ H, W, C }, random) => ({ x: uniform(H * W * C, random), weight: uniform(C, random),
      bias: uniform(C, random) }),
    upload(ops, { H, W, C, groups }, { x, weight, bias }) {
      const input = ops.upload(x, [H, W, C], 'input');
      const norm = { weight: ops.upload(weight, [C], 'weight'), bias: ops.upload(bias, [C], 'bias'),
        groups, eps: EPS, silu: true };
      return (g) => g.groupNorm(input, norm);
    },
    count: ({ H, W, C }) => H * W * C,
    element(row, numbers, i) {
      const { C, groups } = row;
      numbers.moments ??= momentsOf(row, numbers.x);
      const [mean, deviation] = numbers.moments[Math.floor(i % C / (C / groups))];
      const y = numbers.weight[i % C] * (numbers.x[i] - mean) / deviation + numbers.bias[i % C];
      return y / (1 + Math.exp(-y));
    },
  },
};

/** Mean and variance of the row of x [*, D] in which element i is. */
function rowMoments(x, D, i) {
  const from = i - i % D;
  const mean = sum(D, (e) => x[from + e]) / D;
  return { mean, variance: sum(D, (e) => (x[from + e] - mean) ** 2) / D };
}

/**
 * Mean and deviation of each group of channels.
 * @param {Row} row
 * @param {Float32Array} x
 */
function momentsOf({ H, W, C, groups }, x) {
  const width = C / groups;
  const count = H * W * width;
  const over = (g, f) => sum(count, (i) => f(x[Math.floor(i / width) * C + g * width + i % width]));
  return Array.from({ length: groups }, (_, g) => {
    const mean = over(g, (value) => value) / count;
    return [mean, Math.sqrt(over(g, (value) => (value - mean) ** 2) / count + EPS)];
  });
}
