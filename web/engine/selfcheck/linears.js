import { sigmoid, stored, sum, table, wave, zeros } from './values.js';

/**
 * y[M, N] = EPILOGUE of x . W[n0 + n, k0 + k]^T for any weight(n, k); `input` is how x is stored.
 */
function linearCase(o, { K, K_all, k0 }, reads, weight, { x = wave(5 * K, 0), input = x } = {}) {
  const [M, N, n0, gate_at] = [5, 6, 1, 3];
  const gate = wave(gate_at + N, 4);
  const start = wave(M * N, 2);
  const expected = table(M * N, (i) => {
    const r = sum(K, (k) => x[Math.floor(i / N) * K + k] * weight(n0 + i % N, k0 + k));
    return [r, start[i] + r, start[i] * sigmoid(start[i]) * r,
      start[i] + gate[gate_at + i % N] * r][o.EPILOGUE];
  });
  return { dims: { M, N, K, K_all, n0, k0, gate_at }, reads: [input, ...reads, gate], start,
    expected };
}

/** Codes for 8 rows of two groups. */
function packedCase(o, given) {
  const K_all = 2 * o.GROUP;
  const codes = Uint32Array.from({ length: 8 * K_all * o.BITS / 32 },
    (_, i) => Math.imul(i + 1, 2654435761));
  const [scales, biases] = [stored(8 * 2, o.FORMAT, 1), stored(8 * 2, o.FORMAT, 2)];
  const weight = (n, k) => {
    const bit = (n * K_all + k) * o.BITS;
    const code = codes[bit >> 5] >>> (bit & 31) & (1 << o.BITS) - 1;
    const g = n * 2 + Math.floor(k / o.GROUP);
    return scales.at(g) * (o.BIASED ? code : code - o.ZERO) + (o.BIASED ? biases.at(g) : 0);
  };
  return linearCase(o, { K: o.GROUP, K_all, k0: o.GROUP },
    [codes, scales.words, (o.BIASED ? biases : scales).words], weight, given);
}

/** Rows of K whole numbers up to 127, which bytes hold exactly, times a scale; and those bytes. */
function byteRows(M, K, stride) {
  const scale = 0.5;
  const bytes = Array.from({ length: M * K }, (_, i) => (i % K ? 37 * i % 255 - 127 : 127));
  const q = new Uint32Array(M * (K / 4 + 2));
  for (let m = 0; m < M; m++) {
    const row = m * (K / 4 + 2);
    for (let w = 0; w < K / 4; w++) {
      const first = m * K + Math.floor(w / stride) * 4 * stride + w % stride;
      for (let i = 0; i < 4; i++) q[row + w] |= (bytes[first + i * stride] & 255) << (8 * i);
    }
    q.set(new Uint32Array(Float32Array.of(scale).buffer), row + K / 4);
    q[row + K / 4 + 1] = sum(K, (k) => bytes[m * K + k]);
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
    const { x, q } = byteRows(5, o.GROUP, 8 / o.BITS);
    return packedCase(o, { x, input: q });
  },
  quantize_rows(o) {
    const { x, q } = byteRows(3, o.GROUP, o.STRIDE);
    return { dims: { M: 3, K: o.GROUP }, reads: [x], start: new Uint32Array(q.length),
      expected: q };
  },
  linear_dense(o) {
    const w = stored(8 * 24, o.FORMAT, 1);
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
