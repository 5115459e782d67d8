/** Angles of rotary position embeddings. */

/**
 * (cos, sin) of position * theta^(-2i / Dh), i < Dh / 2. Frequencies and angles are rounded to f32
 * as transformers rounds them, which shows in the hundreds of positions.
 * @param {number} S
 * @param {Record<string, any>} config
 * @returns {Float32Array} [S, Dh / 2, 2]
 */
export function rotaryAngles(S, { head_dim: Dh, rope_theta: theta }) {
  const { fround } = Math;
  const frequencies = Float32Array.from({ length: Dh / 2 },
    (_, i) => 1 / fround(theta ** fround(2 * i / Dh)));
  const angles = new Float32Array(S * Dh);
  for (let s = 0; s < S; s++) {
    for (let i = 0; i < Dh / 2; i++) {
      const angle = fround(s * frequencies[i]);
      angles[s * Dh + 2 * i] = Math.cos(angle);
      angles[s * Dh + 2 * i + 1] = Math.sin(angle);
    }
  }
  return angles;
}
