/**
 * One small case per kernel, with its answer computed in float64 by the shortest correct code.
 * Shapes are ragged on purpose: no multiple of any tile.
 */
import { ATTENTION } from './attention.js';
import { LINEARS } from './linears.js';
import { NORMS } from './norms.js';
import { PICTURES } from './pictures.js';
import { PIXELS } from './pixels.js';
import { elementwise, sigmoid, wave } from './values.js';

/**
 * Made for the override values of a variant. `reads` are the inputs in binding order, `start` and
 * `expected` the written buffer before and after.
 * @typedef {(overrides: Record<string, number>) => { dims: Record<string, number>,
 *   reads: ArrayBufferView[], start: Float32Array | Uint32Array,
 *   expected: Float32Array | Uint32Array }} Case
 */

/** @type {Record<string, Case>} */
const ELEMENTWISE = {
  silu: () => elementwise([], wave(70, 0), { count: 70 }, (v) => v * sigmoid(v)),
  add_row() {
    const row = wave(20, 1);
    return elementwise([row], wave(60, 0), { M: 3, D: 20 }, (v, i) => v + row[i % 20]);
  },
  add_scaled() {
    const y = wave(70, 1);
    return elementwise([y], wave(70, 0), { count: 70, alpha: -0.3 },
      (v, i) => v + Math.fround(-0.3) * y[i]);
  },
};

/** By kernel. @type {Record<string, Case>} */
export const CASES = { ...LINEARS, ...ATTENTION, ...NORMS, ...PICTURES, ...PIXELS, ...ELEMENTWISE };
