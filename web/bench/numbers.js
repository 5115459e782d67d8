/** Reproducible numbers for the bench, and the forms in which weights store them. */

import { fromHalves, toHalves } from './halves.js';

/** The zero of each packed kind's codes: weight = scale * (code - zero). */
export const ZERO = {
  binary: 0.5, ternary: 1, affine1: 1, affine2: 2, affine4: 8, affine8: 128,
};
const BITS = { binary: 1, ternary: 2, affine1: 1, affine2: 2, affine4: 4, affine8: 8 };

/**
 * Marsaglia's xorshift: integers 0 .. 2^32 - 1, the same for the same text.
 * @param {string} text
 * @returns {() => number}
 */
export function generator(text) {
  let state = 2463534242;
  for (const letter of text) state = Math.imul(state ^ letter.charCodeAt(0), 16777619) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** `count` floats, evenly in -size .. size. */
export function uniform(count, random, size = 1) {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = size * (random() / 2 ** 31 - 1);
  return values;
}

/** f(0) + f(1) + .. of so many, in float64. */
export function sum(count, f) {
  let total = 0;
  for (let i = 0; i < count; i++) total += f(i);
  return total;
}

/**
 * Floats as `storage` keeps them: the words for the GPU, and the values that they stand for.
 * @param {Float32Array} values
 * @param {'f32' | 'bf16' | 'f16'} storage
 * @returns {{ words: Uint32Array, values: Float32Array }}
 */
export function keep(values, storage) {
  if (storage === 'f32') return { words: new Uint32Array(values.buffer), values };
  const halves = new Uint16Array(2 * Math.ceil(values.length / 2));
  if (storage === 'f16') {
    const rounded = toHalves(values);
    halves.set(rounded);
    return { words: new Uint32Array(halves.buffer), values: fromHalves(rounded) };
  }
  const bits = new Uint32Array(values.buffer).map((word) => word & 0xffff0000);
  bits.forEach((word, i) => { halves[i] = word >>> 16; });
  return { words: new Uint32Array(halves.buffer), values: new Float32Array(bits.buffer) };
}

/**
 * A matrix of random codes whose products keep a signal's size.
 * @param {Record<string, any>} weight its letters, as a row has them
 * @param {() => number} random
 * @returns {{ codes: Uint8Array, zero: number, scales: Float32Array, words: Uint32Array,
 *   scaleWords: Uint32Array, biasWords?: Uint32Array }} codes [N, K], scales [N, K / group]; words
 *   as the GPU has them
 */
export function packedMatrix({ N, K, storage, group, scales: scalesDtype }, random) {
  const bits = BITS[storage];
  const levels = storage === 'ternary' ? 3 : 2 ** bits;
  const codes = new Uint8Array(N * K);
  for (let i = 0; i < codes.length; i++) codes[i] = (random() >>> 16) % levels;
  const words = new Uint32Array(N * K * bits / 32);
  const perWord = 32 / bits;
  for (let i = 0; i < codes.length; i++) words[i / perWord | 0] |= codes[i] << bits * (i % perWord);
  const spread = 1 / (ZERO[storage] * Math.sqrt(K));
  const wished = uniform(N * K / group, random, 0.3 * spread).map((value) => value + spread);
  const scales = keep(wished, scalesDtype);
  const affine = storage.startsWith('affine');
  const zero = ZERO[storage]; // a power of two: the biases are exact in every float type
  const biases = scales.values.map((scale) => -zero * scale);
  return { codes, zero, scales: scales.values, words, scaleWords: scales.words,
    ...(affine && { biasWords: keep(biases, scalesDtype).words }) };
}

/**
 * Bytes of a weight in GPU memory.
 * @param {Record<string, any>} weight its letters, as a row has them
 */
export function weightBytes({ N, K, storage, group, scales }) {
  if (!(storage in BITS)) return N * K * bytesOf(storage);
  const parts = storage.startsWith('affine') ? 2 : 1;
  return N * K * BITS[storage] / 8 + parts * N * K / group * bytesOf(scales);
}

function bytesOf(float) {
  return float === 'f32' ? 4 : 2;
}
