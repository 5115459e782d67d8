/**
 * AutoencoderKLFlux2: batch-normalised latents to pixels and back, channels last.
 * Reference: diffusers' autoencoder_kl_flux2.py and vae.py (Decoder, Encoder).
 */
import { KlBlocks } from './kl_blocks.js';

/** How the names of tensors begin, after the component's, that only encoding needs. */
export const ENCODER = ['encoder.', 'quant_conv.'];

/**
 * @param {import('../../engine/ops.js').Ops} g
 * @param {import('../../engine/weights.js').Weights} weights
 * @param {object} config the manifest's autoencoder configuration
 * @param {import('../../engine/memory.js').Tensor} tokens final latents [height * width, 4 C]
 * @param {{ height: number, width: number, mean: Float32Array, variance: Float32Array,
 *   signal?: AbortSignal }} picture the grid of tokens, and the batch norm's running statistics,
 *   [4 C] each
 * @returns {Promise<import('../../engine/memory.js').Tensor>} [H, W, 3] about -1..1, its last ops
 *   recorded, not yet run
 */
export async function decode(g, weights, config, tokens, picture) {
  const { height, width, signal } = picture;
  const { block_out_channels: channels, layers_per_block: layers } = config;
  const blocks = new KlBlocks(g, weights, config);
  const conv = (name, options) => blocks.conv(name, options);
  const last = true;

  let x = g.scope(() => g.unpatchify(tokens, { height, width, ...statistics(g, config, picture) }));
  if (config.use_post_quant_conv) x = g.conv2d(x, conv('post_quant_conv'), { last });
  x = g.conv2d(x, conv('decoder.conv_in'), { last });
  x = blocks.middle(x, 'decoder');
  for (const i of channels.keys()) {
    const block = `decoder.up_blocks.${i}`;
    for (let j = 0; j <= layers; j++) x = blocks.resnet(x, `${block}.resnets.${j}`);
    await g.drain({ signal });
    if (i === channels.length - 1) break;
    x = g.conv2d(x, conv(`${block}.upsamplers.0.conv`, { up: 2 }), { last });
  }
  const [H, W] = x.shape;
  const pixels = g.empty([H, W, 3], 'pixels');
  const norm = blocks.norm('decoder.conv_norm_out');
  g.conv2d(x, conv('decoder.conv_out', { norm, into: pixels }), { last });
  return pixels;
}

/**
 * The encoder half: the mean of the latents' distribution, normalised.
 * @param {import('../../engine/ops.js').Ops} g
 * @param {import('../../engine/weights.js').Weights} weights
 * @param {object} config the manifest's autoencoder configuration, with `encoder`
 * @param {import('../../engine/memory.js').Tensor} pixels [H, W, 3] in -1..1; released
 * @param {{ mean: Float32Array, variance: Float32Array, signal?: AbortSignal }} picture as `decode`
 *   takes it
 * @returns {Promise<import('../../engine/memory.js').Tensor>} tokens [height * width, 4 C], its last
 *   ops recorded, not yet run
 */
export async function encode(g, weights, config, pixels, picture) {
  const { layers_per_block: layers, latent_channels: C } = config;
  const { block_out_channels: channels, use_quant_conv: quantConv } = config.encoder;
  const blocks = new KlBlocks(g, weights, config);
  const conv = (name, options) => blocks.conv(name, options);
  const last = true;
  let x = g.conv2d(pixels, conv('encoder.conv_in'), { last });
  for (const i of channels.keys()) {
    const block = `encoder.down_blocks.${i}`;
    for (let j = 0; j < layers; j++) x = blocks.resnet(x, `${block}.resnets.${j}`);
    await g.drain({ signal: picture.signal });
    if (i === channels.length - 1) break;
    x = g.conv2d(x, conv(`${block}.downsamplers.0.conv`, { down: 2 }), { last });
  }
  x = blocks.middle(x, 'encoder');
  const [H, W] = x.shape;
  const moments = () => g.empty([H, W, 2 * C], 'moments'); // means, then logarithms of variances
  let z = moments();
  const norm = blocks.norm('encoder.conv_norm_out');
  g.conv2d(x, conv('encoder.conv_out', { norm, into: z }), { last });
  if (quantConv) {
    const into = moments();
    g.conv2d(z, conv('quant_conv', { into }), { last });
    z = into;
  }
  const tokens = g.scope(() => g.patchify(z, statistics(g, config, picture)));
  g.release(z);
  return tokens;
}

/** The batch norm's mean and deviation, on the GPU: [4 C] each. */
function statistics(g, { batch_norm_eps: eps }, { mean, variance }) {
  const std = variance.map((v) => Math.sqrt(v + eps));
  return { mean: g.upload(mean, [mean.length], 'latent mean'),
    std: g.upload(std, [std.length], 'latent std') };
}
