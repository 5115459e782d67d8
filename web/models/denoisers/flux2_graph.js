/**
 * What the FLUX.2 denoiser's ONNX graph is fed with: export/onnx/flux2.py. S text tokens, L image
 * tokens.
 */
import { floats, integers } from '../graph_values.js';

/**
 * @param {{ rows: Float32Array[], shape: number[] }[]} encoded of the one text encoder
 * @param {{ latents: Float32Array, time: number, grid: { height: number, width: number } }} asked
 *   latents [L, C]; time as the sampler has it
 * @returns {Record<string, import('../graph_values.js').GraphValue>} by input
 */
export function feed([{ rows: [rows], shape: [S, D] }], { latents, time, grid }) {
  const { height, width } = grid;
  const L = height * width;
  return {
    encoder_hidden_states: floats(rows, [1, S, D]),
    txt_ids: positions(1, 1, S), img_ids: positions(height, width, 1),
    hidden_states: floats(latents, [1, L, latents.length / L]),
    timestep: floats([Math.fround(time / 1000)], [1]),
  };
}

/** (0, y, x, l) of tokens: [1, rows * columns * length, 4] */
function positions(rows, columns, length) {
  const ids = [];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      for (let l = 0; l < length; l++) ids.push(0, y, x, l);
    }
  }
  return integers(ids, [1, rows * columns * length, 4]);
}
