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
  const conv = (x, name, options) => g.conv2d(x, { weight: weights.get(`${name}.weight`),
    bias: weights.vector(`${name}.bias`), ...options });
  const norm = (x, name, silu) => g.groupNorm(x, { weight: weights.vector(`${name}.weight`),
    bias: weights.vector(`${name}.bias`), groups, eps: EPS, silu });

  /**
   * x + conv2(silu(norm2(conv1(silu(norm1(x)))))),
   * x through a 1x1 convolution where the width changes.
   */
  const resnet = (x, name) => g.scope(() => {
    const y = weights.has(`${name}.conv_shortcut.weight`) ? conv(x, `${name}.conv_shortcut`) : x;
    const h = g.scope(() => conv(norm(x, `${name}.norm1`, true), `${name}.conv1`));
    const normed = norm(h, `${name}.norm2`, true);
    g.release(h);
    return conv(normed, `${name}.conv2`, { into: y, add: true });
  });

  /** In place: one attention head as wide as the picture has channels, over all pixels. */
  const attention = (x, name) => g.scope(() => {
    const [H, W, C] = x.shape;
    const h = norm(x, `${name}.group_norm`, false);
    const pixels = (part) => conv(h, `${name}.${part}`).reshape(H * W, C);
    const a = g.attention(pixels('to_q'), pixels('to_k'), pixels('to_v'), { headWidth: C });
    return conv(a.reshape(H, W, C), `${name}.to_out.0`, { into: x, add: true });
  });

  /** Runs one stage and gives its input back. */
  const replace = (x, stage) => {
    const y = stage(x);
    if (y.allocation !== x.allocation) g.release(x);
    return y;
  };

  const std = variance.map((v) => Math.sqrt(v + config.batch_norm_eps));
  let x = g.scope(() => g.unpatchify(tokens, {
    height, width, mean: g.upload(mean, [mean.length], 'latent mean'),
    std: g.upload(std, [std.length], 'latent std'),
  }));
  if (config.use_post_quant_conv) x = replace(x, (z) => conv(z, 'post_quant_conv'));
  x = replace(x, (z) => conv(z, 'decoder.conv_in'));
  x = replace(x, (z) => resnet(z, 'decoder.mid_block.resnets.0'));
  if (config.mid_block_add_attention) x = attention(x, 'decoder.mid_block.attentions.0');
  x = replace(x, (z) => resnet(z, 'decoder.mid_block.resnets.1'));
  for (const i of channels.keys()) {
    const block = `decoder.up_blocks.${i}`;
    for (let j = 0; j <= layers; j++) x = replace(x, (z) => resnet(z, `${block}.resnets.${j}`));
    await g.drain({ signal });
    const last = i === channels.length - 1;
    if (!last) x = replace(x, (z) => conv(z, `${block}.upsamplers.0.conv`, { up: 2 }));
  }
  x = replace(x, (z) => norm(z, 'decoder.conv_norm_out', true));
  return replace(x, (z) => conv(z, 'decoder.conv_out'));
}
