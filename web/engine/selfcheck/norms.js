import { moments, sum, table, wave, zeros } from './values.js';

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

/** @type {Record<string, import('./cases.js').Case>} */
export const NORMS = {
  layer_norm_modulate: layerNormCase,
  rms_norm: rmsNormCase,
  rms_norm_rope: rmsNormRopeCase,
};
