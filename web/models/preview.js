/**
 * What a picture is going to be, while it is drawn: latents to colours by the small matrix that
 * export/packing/preview.py fitted through the model's own decoder.
 */

/**
 * @param {object} parts
 * @param {Float32Array} parts.latents [h * w, 4 C], after a step
 * @param {Float32Array} parts.velocity likewise, of that step
 * @param {number} parts.sigma noise that is left in the latents; without it they are latents -
 *   sigma * velocity
 * @param {{ height: number, width: number }} grid h and w
 * @param {{ mean: Float32Array, variance: Float32Array, eps: number }} norm of the latents, [4 C]
 * @param {{ matrix: number[][], bias: number[] }} fit [3][C] and [3]; colours from -1 to 1
 * @returns {{ width: number, height: number, rgba: Uint8ClampedArray }} two pixels a token
 */
export function previewOf({ latents, velocity, sigma }, grid, { mean, variance, eps }, fit) {
  const C4 = mean.length;
  const [width, height] = [2 * grid.width, 2 * grid.height];
  const deviation = variance.map((v) => Math.sqrt(v + eps));
  const rgba = new Uint8ClampedArray(4 * width * height);
  const z = new Float32Array(C4);
  for (let token = 0; token < grid.width * grid.height; token++) {
    for (let c4 = 0; c4 < C4; c4++) {
      const i = token * C4 + c4;
      z[c4] = (latents[i] - sigma * velocity[i]) * deviation[c4] + mean[c4];
    }
    const row = 2 * Math.floor(token / grid.width);
    const column = 2 * (token % grid.width);
    for (let part = 0; part < 4; part++) { // 2 dy + dx
      const at = 4 * ((row + (part >> 1)) * width + column + (part & 1));
      fit.matrix.forEach((weights, colour) => {
        const value = weights.reduce((sum, weight, c) => sum + weight * z[4 * c + part],
          fit.bias[colour]);
        rgba[at + colour] = 127.5 * (value + 1);
      });
      rgba[at + 3] = 255;
    }
  }
  return { width, height, rgba };
}
