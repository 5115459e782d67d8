import { sum, wave, zeros } from './values.js';

/**
 * Softmax attention of 5 queries, the last of 6, over 7 keys of which the last may be masked, two
 * query heads to one key head.
 */
function attentionCase(o) {
  const [Tq, Tk, Hq, Hkv, q0] = [5, 7, 2, 1, 1];
  const valid = o.CAUSAL ? 6 : 7;
  const scale = Math.fround(o.SOFTCAP ? o.SOFTCAP / o.DH : 0.1); // scores up to half of the cap
  const distances = o.BIAS ? q0 + Tq + Tk - 1 : 0;
  const [q, k, v] = [wave(Tq * Hq * o.DH, 0), wave(Tk * o.DH, 1), wave(Tk * o.DH, 2)];
  const bias = wave(Math.max(1, Hq * distances), 3);
  const score = (row, head, j) => {
    const s = scale * sum(o.DH, (d) => q[row * o.DH + d] * k[j * o.DH + d]);
    const i = q0 + Math.floor(row / Hq);
    return (o.SOFTCAP ? o.SOFTCAP * Math.tanh(s / o.SOFTCAP) : s)
      + (o.BIAS ? bias[head * distances + q0 + Tq - 1 + j - i] : 0);
  };
  const seen = (i, j) => j < valid && (!o.CAUSAL || j <= i) && (!o.WINDOW || j > i - o.WINDOW);
  const expected = zeros(q.length);
  for (let row = 0; row < Tq * Hq; row++) {
    const weights = Array.from({ length: Tk }, (_, j) => (
      seen(q0 + Math.floor(row / Hq), j) ? Math.exp(score(row, row % Hq, j)) : 0));
    const total = sum(Tk, (j) => weights[j]);
    for (let d = 0; d < o.DH; d++) {
      expected[row * o.DH + d] = sum(Tk, (j) => weights[j] * v[j * o.DH + d]) / total;
    }
  }
  return { dims: { Tq, Tk, Hq, Hkv, valid, q0, scale, distances },
    reads: [q, k, v, bias], start: zeros(q.length), expected };
}

/** Rows of [q|k|v] of two heads; 21 tokens in slices of 17. */
const LINEAR = { T: 21, H: 2, slice: 17 };
const relu = (value) => Math.max(value, 0);
const linearRows = (DH) => wave(LINEAR.T * LINEAR.H * 3 * DH, 0);

/** Sums over tokens first .. past - 1: [H, DH + 1, DH]. */
function sumsOf(rows, DH, first, past) {
  const expected = zeros(LINEAR.H * (DH + 1) * DH);
  const value = (t, head, i) => rows[(t * LINEAR.H + head) * 3 * DH + i];
  for (let i = 0; i < expected.length; i++) {
    const [row, column] = [Math.floor(i / DH), i % DH];
    const [head, j] = [Math.floor(row / (DH + 1)), row % (DH + 1)];
    expected[i] = sum(past - first, (t) => (j === DH ? relu(value(first + t, head, DH + column))
      : relu(value(first + t, head, DH + j)) * value(first + t, head, 2 * DH + column)));
  }
  return expected;
}

function linearSumsCase(o) {
  const { DH } = o;
  const rows = linearRows(DH);
  const parts = [[0, LINEAR.slice], [LINEAR.slice, LINEAR.T]];
  const count = LINEAR.H * (DH + 1) * DH;
  const expected = zeros(3 * count);
  parts.forEach((part, i) => expected.set(sumsOf(rows, DH, ...part), (1 + i) * count));
  return { dims: { ...LINEAR, first: 1, width: 3 * LINEAR.H * DH, step: 3 * DH, k_at: DH,
    v_at: 2 * DH }, reads: [rows, rows], start: zeros(3 * count), expected };
}

function linearMergeCase() {
  const [slices, count] = [3, 70];
  const partials = wave(slices * count, 0);
  const expected = zeros(count).map((_, i) => sum(slices, (s) => partials[s * count + i]));
  return { dims: { slices, count }, reads: [partials], start: zeros(count), expected };
}

function linearApplyCase(o) {
  const { T, H, DH } = { ...LINEAR, ...o };
  const rows = linearRows(DH);
  const sums = sumsOf(rows, DH, 0, T);
  const expected = zeros(T * H * DH).map((_, i) => {
    const [head, column] = [Math.floor(i / DH) % H, i % DH];
    const q = (j) => relu(rows[Math.floor(i / DH) * 3 * DH + j]);
    const at = (j, c) => sums[(head * (DH + 1) + j) * DH + c];
    return sum(DH, (j) => q(j) * at(j, column)) / (sum(DH, (j) => q(j) * at(DH, j)) + 1e-15);
  });
  return { dims: { T, H, width: 3 * H * DH, step: 3 * DH, q_at: 0 }, reads: [rows, sums],
    start: zeros(T * H * DH), expected };
}

/** @type {Record<string, import('./cases.js').Case>} */
export const ATTENTION = {
  linear_attention_sums: linearSumsCase,
  linear_attention_merge: linearMergeCase,
  linear_attention_apply: linearApplyCase,
  attention: attentionCase,
  attention_tiled: attentionCase,
};
