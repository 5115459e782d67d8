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

/** @type {Record<string, import('./cases.js').Case>} */
export const ATTENTION = {
  attention: attentionCase,
  attention_tiled: attentionCase,
};
