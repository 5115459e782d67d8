/**
 * The decoder of AutoencoderKLFlux2: batch-normalised latents to pixels, channels last.
 * Reference: diffusers' autoencoder_kl_flux2.py and vae.py (Decoder).
 */

const EPS = 1e-6; // of every group norm in diffusers' decoder

/**
 * @param {import('../engine/ops.js').Ops} g
 * @param {import('../engine/weights.js').Weights} weights
 * @param {object} config the manifest's autoencoder configuration
 * @param {import('../engine/memory.js').Tensor} tokens final latents [height * width, 4 C]
 * @param {{ height: number, width: number, mean: Float32Array, variance: Float32Array,
 *   signal?: AbortSignal }} picture the grid of tokens, and the batch norm's running statistics,
 *   [4 C] each
 * @returns {Promise<import('../engine/memory.js').Tensor>} [H, W, 3] about -1..1, its last ops
 *   recorded, not yet run
 */
export async function decode(g, weights, config, tokens, picture) {
  const { height, width, mean, variance, signal } = picture;
  const {
    block_out_channels: channels, layers_per_block: layers, norm_num_groups: groups,
  } = config;
  const conv = (name, options) => ({ weight: weights.get(`${name}.weight`),
    bias: weights.vector(`${name}.bias`), ...options });
  const norm = (name, silu = true) => ({ weight: weights.vector(`${name}.weight`),
    bias: weights.vector(`${name}.bias`), groups, eps: EPS, silu });
  const last = true;

  /**
   * x + conv2(silu(norm2(conv1(silu(norm1(x)))))),
   * x through a 1x1 convolution where the width changes. x is gone afterwards.
   */
  const resnet = (x, name) => {
    const conv1 = conv(`${name}.conv1`, { norm: norm(`${name}.norm1`) });
    const [h, y] = weights.has(`${name}.conv_shortcut.weight`)
      ? g.fork(x, [conv1, conv(`${name}.conv_shortcut`)]) : [g.conv2d(x, conv1), x];
    const conv2 = conv(`${name}.conv2`, { norm: norm(`${name}.norm2`), into: y, add: true });
    return g.conv2d(h, conv2, { last });
  };

  /**
   * In place: one attention head as wide as the picture has channels, over all pixels. Queries,
   * keys and values are whole: at 2048 x 2048 a latent of 512 channels is what every device binds.
   */
  const attention = (x, name) => g.scope(() => {
    const [H, W, C] = x.shape;
    const h = g.groupNorm(x, norm(`${name}.group_norm`, false));
    const pixels = (part) => {
      const y = g.empty([H, W, C], part);
      g.conv2d(h, conv(`${name}.${part}`, { into: y }));
      return y.reshape(H * W, C);
    };
    const a = g.attention(pixels('to_q'), pixels('to_k'), pixels('to_v'), { headWidth: C });
    g.conv2d(a.reshape(H, W, C), conv(`${name}.to_out.0`, { into: x, add: true }));
  });

  const std = variance.map((v) => Math.sqrt(v + config.batch_norm_eps));
  let x = g.scope(() => g.unpatchify(tokens, {
    height, width, mean: g.upload(mean, [mean.length], 'latent mean'),
    std: g.upload(std, [std.length], 'latent std'),
  }));
  if (config.use_post_quant_conv) x = g.conv2d(x, conv('post_quant_conv'), { last });
  x = g.conv2d(x, conv('decoder.conv_in'), { last });
  x = resnet(x, 'decoder.mid_block.resnets.0');
  if (config.mid_block_add_attention) attention(x, 'decoder.mid_block.attentions.0');
  x = resnet(x, 'decoder.mid_block.resnets.1');
  for (const i of channels.keys()) {
    const block = `decoder.up_blocks.${i}`;
    for (let j = 0; j <= layers; j++) x = resnet(x, `${block}.resnets.${j}`);
    await g.drain({ signal });
    if (i === channels.length - 1) break;
    x = g.conv2d(x, conv(`${block}.upsamplers.0.conv`, { up: 2 }), { last });
  }
  const [H, W] = x.shape;
  const pixels = g.empty([H, W, 3], 'pixels');
  const out = conv('decoder.conv_out', { norm: norm('decoder.conv_norm_out'), into: pixels });
  g.conv2d(x, out, { last });
  return pixels;
}
