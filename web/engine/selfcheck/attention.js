import { sum, wave, zeros } from './values.js';

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

/** @type {Record<string, import('./cases.js').Case>} */
export const ATTENTION = {
  attention: attentionCase,
  attention_tiled: attentionCase,
};
