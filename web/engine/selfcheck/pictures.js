import { elementwise, moments, sigmoid, stored, sum, table, wave, zeros } from './values.js';

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

/** Of a 4 x 6 map, all rows but the first. */
function depthwiseCase(o) {
  const [H, W, C] = [4, 6, 20];
  const wide = o.GATED ? 2 * C : C;
  const x = wave(H * W * wide, 0);
  const w = stored(o.KS ** 2 * wide, o.FORMAT, 1);
  const bias = wave(wide, 2);
  const convolved = (row, column, c) => (o.BIAS ? bias[c] : 0) + sum(o.KS ** 2, (tap) => {
    const y = row + Math.floor(tap / o.KS) - (o.KS >> 1);
    const xx = column + tap % o.KS - (o.KS >> 1);
    const inside = y >= 0 && y < H && xx >= 0 && xx < W;
    return inside ? w.at(tap * wide + c) * x[(y * W + xx) * wide + c] : 0;
  });
  const expected = table((H - 1) * W * C, (i) => {
    const at = [1 + Math.floor(i / C / W), Math.floor(i / C) % W];
    const a = convolved(...at, i % C);
    if (!o.GATED) return a;
    const b = convolved(...at, C + i % C);
    return a * b * sigmoid(b);
  });
  return { dims: { H, W, C, row0: 1, rows: H - 1, y0: 0 }, reads: [x, w.words, bias],
    start: zeros(expected.length), expected };
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

/** @type {Record<string, import('./cases.js').Case>} */
export const PICTURES = {
  conv2d: convCase(4),
  conv2d_tiled: convCase(4),
  conv2d_ragged: convCase(3),
  conv2d_down: convDownCase,
  depthwise: depthwiseCase,
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
};
