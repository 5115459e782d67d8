/**
 * AutoencoderDC's decoder: a denoiser's latents to pixels, channels last.
 * Reference: diffusers' autoencoder_dc.py (Decoder).
 */
import { DcBlocks } from './dc_blocks.js';

/**
 * How the names of tensors begin that come stage by stage where the weights are streamed: the large
 * pictures of the last stages need few of them.
 */
export const LAYERS = ['decoder.up_blocks.'];

/**
 * diffusers runs published models in bf16 or f32 alone: f16 does not hold their activations.
 * @type {import('../families.js').Precision}
 */
export const PRECISION = 'f32';

/**
 * @param {import('../../engine/ops.js').Ops} g
 * @param {import('../../engine/weights.js').Weights} weights
 * @param {Record<string, any>} config the manifest's autoencoder configuration
 * @param {import('../../engine/memory.js').Tensor} latents final ones, [height * width, C]
 * @param {{ height: number, width: number, norm: import('../../loader/tensors.js').LatentNorm,
 *   signal?: AbortSignal }} picture height and width of the grid of latents
 * @returns {Promise<import('../../engine/memory.js').Tensor>} [H, W, 3] about -1..1, its last ops
 *   recorded, not yet run
 */
export async function decode(g, weights, config, latents, { height, width, norm, signal }) {
  const { block_out_channels: channels, layers_per_block: layers } = config;
  const blocks = new DcBlocks(g, weights, config);
  const z = g.scope(() => g.scaleShift(latents, norm));
  /** @type {import('../../engine/pictures.js').Picture} */
  let x = blocks.enter(z.reshape(height, width, z.width));
  const stages = [...layers.keys()].reverse()
    .filter((i) => layers[i] > 0); // the first and the last may have none
  const names = stages.map((i) => `decoder.up_blocks.${i}`);
  await weights.layers(names, async (n) => {
    const i = stages[n];
    const grows = i < channels.length - 1 ? 1 : 0;
    if (grows) x = blocks.grow(x, `${names[n]}.0.conv`, channels[i]);
    for (let j = 0; j < layers[i]; j++) x = blocks.block(x, `${names[n]}.${grows + j}`, i);
    await g.drain({ signal });
  }, { signal });
  return blocks.leave(x, layers[0] === 0);
}
