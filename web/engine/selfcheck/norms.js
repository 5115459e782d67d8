import { moments, sum, table, wave, zeros } from './values.js';

function modulatedCase() {
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

function layerNormCase() {
  const [M, D, eps] = [3, 70, 1e-6];
  const [x, w, b] = [table(M * D, (i) => 3 + Math.sin(i)), wave(D, 1), wave(D, 2)];
  const expected = table(M * D, (i) => {
    const { mean, variance } = moments(x.subarray(i - i % D, i - i % D + D));
    return w[i % D] * (x[i] - mean) / Math.sqrt(variance + eps) + b[i % D];
  });
  return { dims: { M, D, eps }, reads: [x, w, b], start: zeros(M * D), expected };
}

function rmsNormCase(o) {
  const [M, D, eps] = [3, 70, 1e-6];
  const [x, w, b] = [wave(M * D, 0), wave(D, 1), wave(D, 2)];
  const expected = table(M * D, (i) => (
    rmsNormed(x, w, eps, i) + (o.BIAS ? b[i % D] : 0)));
  return { dims: { M, D, eps }, reads: [x, w, b], start: zeros(M * D), expected };
}

/** Element i of x, in rows as long as w. */
function rmsNormed(x, w, eps, i) {
  const D = w.length;
  const row = x.subarray(i - i % D, i - i % D + D);
  return x[i] * w[i % D] / Math.sqrt(sum(D, (d) => row[d] ** 2) / D + eps);
}

/** Three tokens from t0 on, three heads of eight. */
const HEADS = { T: 3, H: 3, Dh: 8, t0: 1 };
const headAngles = () => wave((HEADS.t0 + HEADS.T) * HEADS.Dh, 0);

/** The pairs of x's heads, turned. */
function rotated(o, x, angles) {
  const { H, Dh, t0 } = HEADS;
  const expected = zeros(x.length);
  for (let i = 0; i < x.length / 2; i++) {
    const [head, pair] = [Math.floor(i / (Dh / 2)), i % (Dh / 2)];
    const [a, b] = o.HALF_SPLIT ? [pair, pair + Dh / 2] : [2 * pair, 2 * pair + 1];
    const at = (t0 + Math.floor(head / H)) * Dh + 2 * pair;
    const [xa, xb] = [x[head * Dh + a], x[head * Dh + b]];
    expected[head * Dh + a] = xa * angles[at] - xb * angles[at + 1];
    expected[head * Dh + b] = xb * angles[at] + xa * angles[at + 1];
  }
  return expected;
}

function rmsNormRopeCase(o) {
  const { T, H, Dh } = HEADS;
  const eps = 1e-6;
  const [angles, x, w] = [headAngles(), wave(T * H * Dh, 1), wave(Dh, 2)];
  const normed = table(x.length, (i) => rmsNormed(x, w, eps, i));
  return { dims: { ...HEADS, eps }, reads: [x, w, angles], start: zeros(x.length),
    expected: rotated(o, normed, angles) };
}

function ropeCase(o) {
  const [angles, x] = [headAngles(), wave(HEADS.T * HEADS.H * HEADS.Dh, 1)];
  return { dims: HEADS, reads: [angles], start: x, expected: rotated(o, x, angles) };
}

/** @type {Record<string, import('./cases.js').Case>} */
export const NORMS = {
  layer_norm_modulate: modulatedCase,
  layer_norm: layerNormCase,
  rms_norm: rmsNormCase,
  rms_norm_rope: rmsNormRopeCase,
  rope: ropeCase,
};
