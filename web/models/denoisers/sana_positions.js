/** Where tokens lie, as the Sana models for 2048 and more pixels are told it. */

const f32 = Math.fround;

/**
 * Sines and cosines of the places: channels [sin x, cos x, sin y, cos y], a quarter each, f32
 * [height * width, D]. A map of any size spans the places of the configuration's sample_size.
 * Reference: diffusers' PatchEmbed, whose halves are of x first.
 * @param {{ height: number, width: number }} grid
 * @param {{ sample_size: number, interpolation_scale: number }} config
 * @param {number} D
 * @returns {Float32Array}
 */
export function positionsOf({ height, width }, config, D) {
  const { sample_size: base, interpolation_scale: scale } = config;
  const frequencies = Array.from({ length: D / 4 }, (_, i) => 1 / 10000 ** (i / (D / 4)));
  const along = (count) => Array.from({ length: count }, (_, i) => {
    const place = f32(f32(i / f32(count / base)) / f32(scale));
    const angles = frequencies.map((frequency) => place * frequency);
    return [...angles.map(Math.sin), ...angles.map(Math.cos)];
  });
  const [columns, rows] = [along(width), along(height)];
  const positions = new Float32Array(height * width * D);
  rows.forEach((row, y) => columns.forEach((column, x) => {
    positions.set(column, (y * width + x) * D);
    positions.set(row, (y * width + x) * D + D / 2);
  }));
  return positions;
}
