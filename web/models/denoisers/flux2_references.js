/**
 * Reference images for the FLUX.2 denoiser: pixels to tokens that follow the noise in every step.
 * Reference: diffusers' Flux2KleinPipeline.prepare_image_latents.
 */
import { ENCODER, encode } from '../autoencoders/kl.js';
import { fittedSize, prepareImage } from '../../api/reference_image.js';

/** The tensors that encode images. A model without image input has none. */
export function imageTensors({ tensors }) {
  const prefixes = ENCODER.map((prefix) => `autoencoder.${prefix}`);
  return Object.keys(tensors).filter((name) => prefixes.some((prefix) => name.startsWith(prefix)));
}

/**
 * @param {object} parts as `draw` takes them
 * @param {import('../../api/reference_image.js').Image[]} images checked by the caller; a rehearsal needs
 *   their sizes only
 * @param {{ mean: Float32Array, variance: Float32Array }} statistics the batch norm's, [4 C] each
 * @param {{ signal?: AbortSignal, observe: Function }} hooks as `draw` takes them
 * @returns {Promise<{ tokens: import('../../engine/memory.js').Tensor, height: number,
 *   width: number }[]>} a grid of tokens [height * width, 4 C] each
 */
export async function encodeReferences({ g, stages, manifest }, images, statistics, hooks) {
  if (!images.length) return [];
  const { signal, observe } = hooks;
  const { patch, components: { autoencoder: { config } } } = manifest;
  const only = { names: imageTensors(manifest), groups: [], signal };
  return stages.pass('autoencoder', only, async (weights) => {
    const references = [];
    for (const [i, image] of images.entries()) {
      const { height, width } = fittedSize(image, patch);
      const values = g.rehearsal ? new Float32Array(3 * height * width)
        : prepareImage(image, patch);
      const pixels = g.upload(values, [height, width, 3], 'reference image');
      const tokens = await encode(g, weights, config, pixels, { ...statistics, signal });
      await observe(`reference.${i}`, tokens.shape, tokens);
      await g.drain({ signal });
      references.push({ tokens, height: height / patch, width: width / patch });
    }
    return references;
  });
}
