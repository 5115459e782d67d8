/**
 * Reference images for the FLUX.2 denoiser: pixels to tokens that follow the noise in every step.
 * Reference: diffusers' Flux2KleinPipeline.prepare_image_latents.
 */
import { imageTensors } from '../../loader/requested.js';
import { encode } from '../autoencoders/kl.js';

/**
 * @param {import('../families.js').Parts} parts
 * @param {import('../families.js').ReferenceImage[]} images
 * @param {import('../families.js').Hooks} hooks
 * @returns {Promise<{ tokens: import('../../engine/memory.js').Tensor, height: number,
 *   width: number }[]>} a grid of tokens [height * width, 4 C] each
 */
export async function encodeReferences({ g, stages, files, manifest }, images, hooks) {
  const { signal, observe } = hooks;
  const { latents: { pixels: edge }, components: { autoencoder: { config } } } = manifest;
  const norm = await files.latentNorm();
  const only = { names: imageTensors(manifest), groups: [], signal };
  return stages.pass('autoencoder', only, async (weights) => {
    const references = [];
    for (const [i, { height, width, read }] of images.entries()) {
      const values = g.rehearsal ? new Float32Array(3 * height * width) : read();
      const pixels = g.upload(values, [height, width, 3], 'reference image');
      const tokens = await encode(g, weights, config, pixels, { norm, signal });
      await observe(`reference.${i}`, tokens.shape, tokens);
      await g.drain({ signal });
      references.push({ tokens, height: height / edge, width: width / edge });
    }
    return references;
  });
}
