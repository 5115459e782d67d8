/**
 * The ops that can be timed, continued: of maps whose channels keep to themselves or to a group,
 * and linear attention.
 */
import { keep, sum, uniform } from './numbers.js';

/** @typedef {import('./shapes.js').Row} Row */

const EPS = 1e-15; // of linear attention

const silu = (v) => v / (1 + Math.exp(-v));

/** @type {Record<string, import('./subjects.js').Subject>} */
export const MAP_SUBJECTS = {
  /** C channels out; gated: twice as many in, and as many convolved. */
  depthwise: {
    flop: (row) => 2 * row.KS ** 2 * row.H * row.W * channelsIn(row),
    bytes: (row) => 4 * row.H * row.W * (channelsIn(row) + row.C)
      + (2 * row.KS ** 2 + 4) * channelsIn(row),
    numbers: (row, random) => ({
      x: uniform(row.H * row.W * channelsIn(row), random),
      bias: uniform(channelsIn(row), random),
      weight: keep(uniform(row.KS ** 2 * channelsIn(row), random, 1 / row.KS), row.storage),
    }),
    upload(ops, row, { x, bias, weight }) {
      const { H, W, KS, gated = false, storage } = row;
      const C = channelsIn(row);
      const filters = { label: 'bench', shape: [KS, KS, C], count: KS * KS * C, storage,
        data: ops.upload(weight.words, [weight.words.length], 'weights') };
      const input = ops.upload(x, [H, W, C], 'input');
      const options = { gated, bias: ops.upload(bias, [C], 'bias') };
      return (g) => g.depthwise(input, filters, options);
    },
    count: ({ H, W, C }) => H * W * C,
    element(row, numbers, i) {
      const { C, gated } = row;
      const [pixel, c] = [Math.floor(i / C), i % C];
      const value = filtered(row, numbers, pixel, c);
      return gated ? value * silu(filtered(row, numbers, pixel, C + c)) : value;
    },
  },

  /** Groups of K channels, each through a matrix of its own. */
  linearGrouped: {
    flop: ({ H, W, C, K }) => 2 * K * H * W * C,
    bytes: ({ H, W, C, K }) => 8 * H * W * C + 4 * C * K,
    numbers: ({ H, W, C, K }, random) => ({
      x: uniform(H * W * C, random), weight: keep(uniform(C * K, random, K ** -0.5), 'f32'),
    }),
    upload(ops, { H, W, C, K }, { x, weight }) {
      const input = ops.upload(x, [H, W, C], 'input');
      const filters = ops.upload(weight.values, [C, K], 'weights');
      return (g) => g.linearGrouped(input, filters, { into: g.empty([H, W, C], 'result') });
    },
    count: ({ H, W, C }) => H * W * C,
    element({ C, K }, { x, weight }, i) {
      const c = i % C;
      const first = i - c + c - c % K; // of this pixel's group
      return sum(K, (k) => weight.values[c * K + k] * x[first + k]);
    },
  },

  linearAttention: {
    flop: ({ T, H, Dh }) => 4 * T * H * Dh * (Dh + 1),
    bytes: ({ T, H, Dh }) => 16 * T * H * Dh,
    numbers: ({ T, H, Dh }, random) => Object.fromEntries(['q', 'k', 'v'].map((name) => (
      [name, uniform(T * H * Dh, random)]))),
    upload(ops, { T, H, Dh }, numbers) {
      const [q, k, v] = ['q', 'k', 'v'].map((name) => (
        ops.upload(numbers[name], [T, H * Dh], name)));
      return (g) => g.linearAttention(q, k, v, { headWidth: Dh });
    },
    count: ({ T, H, Dh }) => T * H * Dh,
    element({ T, H, Dh }, { q, k, v }, i) {
      const [t, h, d] = [Math.floor(i / (H * Dh)), Math.floor(i / Dh) % H, i % Dh];
      const at = (row, e) => (row * H + h) * Dh + e;
      const scores = Float64Array.from({ length: T }, (_, row) => (
        sum(Dh, (e) => Math.max(q[at(t, e)], 0) * Math.max(k[at(row, e)], 0))));
      return sum(T, (row) => scores[row] * v[at(row, d)]) / (sum(T, (row) => scores[row]) + EPS);
    },
  },
};

/** @param {Row} row */
function channelsIn({ C, gated }) {
  return gated ? 2 * C : C;
}

/**
 * Channel c of a pixel, convolved, with its bias.
 * @param {Row} row
 * @param {import('./subjects.js').Numbers} numbers
 * @param {number} pixel
 * @param {number} c
 */
function filtered(row, { x, bias, weight }, pixel, c) {
  const { H, W, KS } = row;
  const C = channelsIn(row);
  const [line, column, halo] = [Math.floor(pixel / W), pixel % W, KS >> 1];
  return bias[c] + sum(KS * KS, (tap) => {
    const [r, s] = [line + Math.floor(tap / KS) - halo, column + tap % KS - halo];
    if (r < 0 || s < 0 || r >= H || s >= W) return 0;
    return x[(r * W + s) * C + c] * weight.values[tap * C + c];
  });
}
