import { byteGroups, inputUnit } from '../linear.js';
import { sigmoid, stored, sum, table, wave } from './values.js';

/** By ACT, as the kernels number it. */
const ACTIVATIONS = [
  (r) => r,
  (r) => r * sigmoid(r),
  (r) => r / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (r + 0.044715 * r ** 3))),
  (r) => r * sigmoid(1.702 * r),
  (r) => Math.max(r, 0),
];

/** Rows of W: more than are used. */
const N_ALL = 8;

/**
 * y[M, N] = EPILOGUE of ACT of x . W[n0 + n, k0 + k]^T + bias for any weight(n, k), or ACT of what
 * was there before times that; `input` is how x is stored.
 */
function linearCase(o, { K, K_all, k0 }, reads, weight, { x = wave(5 * K, 0), input = x } = {}) {
  const [M, N, n0, gate_at] = [5, 6, 1, 3];
  const [bias, gate] = [wave(N_ALL, 5), wave(gate_at + N, 4)];
  const start = wave(M * N, 2);
  const expected = table(M * N, (i) => {
    const product = sum(K, (k) => x[Math.floor(i / N) * K + k] * weight(n0 + i % N, k0 + k));
    const r = product + (o.BIAS ? bias[n0 + i % N] : 0);
    const act = ACTIVATIONS[o.ACT];
    return [act(r), start[i] + act(r), act(start[i]) * r,
      start[i] + gate[gate_at + i % N] * act(r)][o.EPILOGUE];
  });
  return { dims: { M, N, K, K_all, n0, k0, gate_at }, reads: [input, ...reads, bias, gate], start,
    expected };
}

/** Codes for two units of inputs, of which the second is used. */
function packedCase(o, given) {
  const K = inputUnit(o);
  const groups = 2 * K / o.GROUP;
  const codes = Uint32Array.from({ length: N_ALL * 2 * K * o.BITS / 32 },
    (_, i) => Math.imul(i + 1, 2654435761));
  const [scales, biases] = [1, 2].map((phase) => stored(N_ALL * groups, o.FORMAT, phase));
  const weight = (n, k) => {
    const bit = (n * 2 * K + k) * o.BITS;
    const code = codes[bit >> 5] >>> (bit & 31) & (1 << o.BITS) - 1;
    const g = n * groups + Math.floor(k / o.GROUP);
    return scales.at(g) * (o.BIASED ? code : code - o.ZERO) + (o.BIASED ? biases.at(g) : 0);
  };
  return linearCase(o, { K, K_all: 2 * K, k0: K },
    [codes, scales.words, (o.BIASED ? biases : scales).words], weight, given);
}

/**
 * M rows of K whole numbers up to 127, which bytes hold exactly, times a scale; and those bytes, as
 * quantize_rows has them.
 * @param {number} M
 * @param {number} K
 * @param {Record<string, number>} constants quantize_rows'
 */
function byteRows(M, K, { GROUP: group, STRIDE: stride }) {
  const scale = 0.5;
  const bytes = Array.from({ length: M * K }, (_, i) => (i % group ? 37 * i % 255 - 127 : 127));
  const groups = K / group;
  const width = K / 4 + 2 * groups;
  const q = new Uint32Array(M * width);
  for (let m = 0; m < M; m++) {
    for (let w = 0; w < K / 4; w++) {
      const first = m * K + Math.floor(w / stride) * 4 * stride + w % stride;
      for (let i = 0; i < 4; i++) q[m * width + w] |= (bytes[first + i * stride] & 255) << (8 * i);
    }
    for (let g = 0; g < groups; g++) {
      const at = m * width + K / 4 + g;
      q.set(new Uint32Array(Float32Array.of(scale).buffer), at);
      q[at + groups] = sum(group, (k) => bytes[m * K + g * group + k]);
    }
  }
  return { x: Float32Array.from(bytes, (byte) => scale * byte), q };
}

/** @type {Record<string, import('./cases.js').Case>} */
export const LINEARS = {
  linear_packed: (o) => packedCase(o),
  linear_packed_few: (o) => packedCase(o),
  linear_packed_subgroup: (o) => packedCase(o),
  linear_packed_tiled: (o) => packedCase(o),
  linear_packed_int8(o) {
    const { x, q } = byteRows(5, inputUnit(o), byteGroups(o));
    return packedCase(o, { x, input: q });
  },
  quantize_rows(o) {
    const { x, q } = byteRows(3, 2 * o.GROUP, o);
    return { dims: { M: 3, K: 2 * o.GROUP }, reads: [x], start: new Uint32Array(q.length),
      expected: q };
  },
  linear_dense(o) {
    const w = stored(N_ALL * 24, o.FORMAT, 1);
    return linearCase(o, { K: 20, K_all: 24, k0: 4 }, [w.words], (n, k) => w.at(24 * n + k));
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
