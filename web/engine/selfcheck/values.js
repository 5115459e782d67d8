/** What the cases are made of: numbers, and the sums that answers are worked out with. */

/** Reproducible values in about -1..1. */
export const wave = (count, phase) => Float32Array.from({ length: count },
  (_, i) => Math.sin(phase + 1.7 * i));
export const zeros = (count) => new Float32Array(count);
export const table = (count, f) => Float32Array.from({ length: count }, (_, i) => f(i));
export const sum = (count, f) => Array.from({ length: count }, (_, i) => f(i))
  .reduce((a, b) => a + b, 0);
export const sigmoid = (v) => 1 / (1 + Math.exp(-v));

/**
 * Floats as a weight buffer of FORMAT holds them (0 f32, 1 bf16, 2 f16), and the values that they
 * stand for.
 */
export function stored(count, format, phase) {
  const values = wave(count, phase);
  const words = new Uint32Array(values.buffer.slice(0));
  if (format === 0) return { words, at: (i) => values[i] };
  const packed = new Uint16Array(2 * Math.ceil(count / 2));
  if (format === 1) {
    for (let i = 0; i < count; i++) packed[i] = words[i] >>> 16;
    const kept = new Float32Array(Uint32Array.from(words, (word) => word & 0xffff0000).buffer);
    return { words: new Uint32Array(packed.buffer), at: (i) => kept[i] };
  }
  for (let i = 0; i < count; i++) packed[i] = (i % 3 ? 0 : 0x8000) | 14 << 10 | (37 * i & 1023);
  return { words: new Uint32Array(packed.buffer),
    at: (i) => (i % 3 ? 0.5 : -0.5) * (1 + (37 * i & 1023) / 1024) };
}

/** Mean and variance of a list. */
export function moments(values) {
  const mean = sum(values.length, (i) => values[i]) / values.length;
  return { mean, variance: sum(values.length, (i) => (values[i] - mean) ** 2) / values.length };
}

/** Each element f of what was there before. */
export function elementwise(reads, start, dims, f) {
  return { dims, reads, start, expected: table(start.length, (i) => f(start[i], i)) };
}
