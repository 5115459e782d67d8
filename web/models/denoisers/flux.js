/**
 * What the denoisers of FLUX.1 and FLUX.2 have in common. T tokens of text and image, text first;
 * H heads of width Dh.
 */

/** @import { Ops } from '../../engine/ops.js' */
/** @import { Tensor } from '../../engine/memory.js' */

/** The names of `count` blocks of a kind. */
export function blockNames(kind, count) {
  return Array.from({ length: count }, (_, i) => `${kind}.${i}`);
}

/**
 * (cos, sin) for every token and frequency: each axis of a position has its own share of the head's
 * pairs, of frequencies theta^(-2 i / dims).
 * @param {number[][]} positions [T], a number for each axis
 * @param {{ axes_dims_rope: number[], rope_theta: number }} config
 * @returns {Float32Array} [T, Dh / 2, 2]
 */
export function rotaryAngles(positions, { axes_dims_rope: axes, rope_theta: theta }) {
  const frequencies = axes.map((dims) => Array.from({ length: dims / 2 },
    (_, i) => theta ** (-2 * i / dims)));
  const angles = new Float32Array(positions.length * 2 * frequencies.flat().length);
  let at = 0;
  for (const position of positions) {
    frequencies.forEach((axis, n) => axis.forEach((frequency) => {
      const angle = position[n] * frequency;
      angles[at++] = Math.cos(angle);
      angles[at++] = Math.sin(angle);
    }));
  }
  return angles;
}

/**
 * Per-head RMS norm and rotation of a projection that nothing else needs, and into a part of a
 * joint buffer if given.
 * @param {Ops} g
 * @param {Tensor} heads [rows, H * Dh], which is released
 * @param {Tensor} weight [Dh]
 * @param {Tensor} angles [T, Dh / 2, 2]
 * @param {number} eps
 * @param {{ t0: number, into: Tensor }} [part]
 */
export function turnHeads(g, heads, weight, angles, eps, part) {
  const y = g.rmsNormRope(heads, weight, angles, eps, part);
  g.release(heads);
  return y;
}

/** Attention over q, k and v [T, H * Dh], which are released. @param {Ops} g */
export function attend(g, q, k, v, headWidth) {
  const a = g.attention(q, k, v, { headWidth });
  g.release(q, k, v);
  return a;
}
