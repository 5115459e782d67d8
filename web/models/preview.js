/**
 * What a picture is going to be, while it is drawn: latents to colours by the small matrix that
 * export/autoencoders/preview.py fitted through the model's own decoder.
 */

/**
 * @param {Float64Array} clean latents without their noise, [h * w, cell * cell * C]
 * @param {{ height: number, width: number }} grid h and w
 * @param {import('../loader/tensors.js').LatentNorm} norm
 * @param {{ matrix: number[][], bias: number[], cell: number }} fit [3][C] and [3]; colours from -1
 *   to 1; a token is cell x cell pixels of the preview
 * @returns {{ width: number, height: number, rgba: Uint8ClampedArray }}
 */
export function previewOf(clean, grid, { scale, shift }, { matrix, bias, cell }) {
  const channels = scale.length;
  const [width, height] = [cell * grid.width, cell * grid.height];
  const rgba = new Uint8ClampedArray(4 * width * height);
  const z = new Float32Array(channels);
  for (let token = 0; token < grid.width * grid.height; token++) {
    for (let c = 0; c < channels; c++) z[c] = clean[token * channels + c] * scale[c] + shift[c];
    const row = cell * Math.floor(token / grid.width);
    const column = cell * (token % grid.width);
    for (let part = 0; part < cell * cell; part++) { // cell * dy + dx
      const at = 4 * ((row + Math.floor(part / cell)) * width + column + part % cell);
      matrix.forEach((weights, colour) => {
        const value = weights.reduce((sum, weight, c) => sum + weight * z[cell * cell * c + part],
          bias[colour]);
        rgba[at + colour] = 127.5 * (value + 1);
      });
      rgba[at + 3] = 255;
    }
  }
  return { width, height, rgba };
}
