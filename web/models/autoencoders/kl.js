/**
 * AutoencoderKLFlux2 and AutoencoderKL: a denoiser's latents, 2 x 2 of its own to a token, to pixels
 * and back, channels last.
 * Reference: diffusers' autoencoder_kl_flux2.py and vae.py (Decoder, Encoder).
 */
import { floats } from '../graph_values.js';
import { KlBlocks } from './kl_blocks.js';

/**
 * How the names of tensors begin that come stage by stage where the weights are streamed: the large
 * pictures of the last stage need few of them.
 */
export const LAYERS = ['decoder.mid_block.', 'decoder.up_blocks.'];

/**
 * @param {import('../../engine/ops.js').Ops} g
 * @param {import('../../engine/weights.js').Weights} weights
 * @param {Record<string, any>} config the manifest's autoencoder configuration
 * @param {import('../../engine/memory.js').Tensor} tokens final latents [height * width, 4 C]
 * @param {{ height: number, width: number, norm: import('../../loader/tensors.js').LatentNorm,
 *   signal?: AbortSignal }} picture height and width of the grid of tokens
 * @returns {Promise<import('../../engine/memory.js').Tensor>} [H, W, 3] about -1..1, its last ops
 *   recorded, not yet run
 */
export async function decode(g, weights, config, tokens, picture) {
  const { height, width, norm: latents, signal } = picture;
  const { block_out_channels: channels, layers_per_block: layers } = config;
  const blocks = new KlBlocks(g, weights, config);
  const conv = (name, options) => blocks.conv(name, options);
  const last = true;

  /** @type {import('../../engine/pictures.js').Picture} */
  let x = g.scope(() => g.unpatchify(tokens, { height, width, ...onGpu(g, latents) }));
  if (config.use_post_quant_conv) x = g.conv2d(x, conv('post_quant_conv'), { last });
  x = g.conv2d(x, conv('decoder.conv_in'), { last });
  const stages = ['decoder.mid_block', ...channels.map((_, i) => `decoder.up_blocks.${i}`)];
  await weights.layers(stages, async (i) => {
    if (i === 0) {
      x = blocks.middle(x, 'decoder');
      return;
    }
    for (let j = 0; j <= layers; j++) x = blocks.resnet(x, `${stages[i]}.resnets.${j}`);
    await g.drain({ signal });
    if (i === channels.length) return;
    x = g.conv2d(x, conv(`${stages[i]}.upsamplers.0.conv`, { up: 2 }), { last });
  }, { signal });
  const [H, W] = x.shape;
  const pixels = g.empty([H, W, 3], 'pixels');
  const norm = blocks.norm('decoder.conv_norm_out');
  g.conv2d(x, conv('decoder.conv_out', { norm, into: pixels }), { last });
  return pixels;
}

/**
 * The encoder half: the mean of the latents' distribution, as the denoiser takes it.
 * @param {import('../../engine/ops.js').Ops} g
 * @param {import('../../engine/weights.js').Weights} weights
 * @param {Record<string, any>} config the manifest's autoencoder configuration, with `encoder`
 * @param {import('../../engine/memory.js').Tensor} pixels [H, W, 3] in -1..1; released
 * @param {{ norm: import('../../loader/tensors.js').LatentNorm, signal?: AbortSignal }} picture
 * @returns {Promise<import('../../engine/memory.js').Tensor>} tokens [height * width, 4 C], its
 *   last ops recorded, not yet run
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
  const tokens = g.scope(() => g.patchify(z, onGpu(g, picture.norm)));
  g.release(z);
  return tokens;
}

/**
 * What the decoder's ONNX graph is fed with.
 * @param {Float32Array} latents [height * width, C]
 * @param {{ height: number, width: number }} grid
 */
export function feed(latents, { height, width }) {
  const [L, C] = [height * width, latents.length / (height * width)];
  const planes = latents.map((_, i) => latents[i % L * C + Math.floor(i / L)]);
  return { latent_sample: floats(planes, [1, C, height, width]) };
}

function onGpu(g, { scale, shift }) {
  return { shift: g.upload(shift, [shift.length], 'latent shift'),
    scale: g.upload(scale, [scale.length], 'latent scale') };
}
