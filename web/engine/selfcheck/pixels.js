import { elementwise, sigmoid, sum, wave, zeros } from './values.js';

const silu = (v) => v * sigmoid(v);

/** @type {Record<string, import('./cases.js').Case>} */
export const PIXELS = {
  linear_grouped() {
    const [P, C, K] = [5, 24, 8];
    const [x, w] = [wave(P * C, 0), wave(C * K, 1)];
    return elementwise([x, w], zeros(P * C), { P, C, K, x0: 0, y0: 0 }, (_, i) => {
      const first = i - i % K;
      return sum(K, (k) => w[i % C * K + k] * x[first + k]);
    });
  },
  place_channels() {
    const [P, C, Cy, c0] = [7, 3, 8, 4];
    const x = wave(P * C, 0);
    return elementwise([x], wave(P * Cy, 1), { P, C, Cy, y0: 0, c0 }, (before, i) => {
      const c = i % Cy - c0;
      return c >= 0 && c < C ? x[Math.floor(i / Cy) * C + c] : before;
    });
  },
  pixel_shuffle(o) {
    const [H, W, Cin] = [3, 5, 2 * o.UP ** 2];
    const [width, Cout] = [o.UP * W, 2 * o.REPEAT];
    const x = wave(H * W * Cin, 0);
    const start = wave(H * o.UP * width * Cout, 1);
    const dims = { W, Cin, Cout, row0: 0, rows: o.UP * H, y0: 0 };
    return elementwise([x], start, dims, (before, i) => {
      const [row, column, c] = [Math.floor(i / Cout / width), Math.floor(i / Cout) % width,
        i % Cout];
      const part = c * o.UP ** 2 + row % o.UP * o.UP + column % o.UP;
      const pixel = Math.floor(row / o.UP) * W + Math.floor(column / o.UP);
      return (o.ADD ? before : 0) + x[pixel * Cin + Math.floor(part / o.REPEAT)];
    });
  },
  rms_norm_pixels(o) {
    const [P, C, eps] = [3, 70, 1e-5];
    const [x, w, b] = [wave((P + 1) * C, 0), wave(C, 1), wave(C, 2)];
    return elementwise([x, w, b], wave(P * C, 3), { P, C, x0: 1, y0: 0, eps }, (before, i) => {
      const row = x.subarray(C + i - i % C, 2 * C + i - i % C);
      const value = row[i % C] * w[i % C] / Math.sqrt(sum(C, (c) => row[c] ** 2) / C + eps)
        + b[i % C];
      const made = { 1: silu(value), 4: Math.max(value, 0) }[o.ACT] ?? value;
      return (o.ADD ? before : 0) + made;
    });
  },
  relu: () => elementwise([], wave(70, 0), { count: 70 }, (v) => Math.max(v, 0)),
};
