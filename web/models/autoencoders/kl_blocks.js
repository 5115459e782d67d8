/**
 * What both halves of AutoencoderKL and AutoencoderKLFlux2 are made of.
 * Reference: diffusers' ResnetBlock2D and UNetMidBlock2D.
 */

const EPS = 1e-6; // of every group norm in diffusers' encoder and decoder

/** @typedef {import('../../engine/pictures.js').Picture} Picture */

export class KlBlocks {
  #g;
  #weights;
  #groups;
  #attends;

  /**
   * @param {import('../../engine/ops.js').Ops} g
   * @param {import('../../engine/weights.js').Weights} weights
   * @param {Record<string, any>} config the manifest's autoencoder configuration
   */
  constructor(g, weights, { norm_num_groups: groups, mid_block_add_attention: attends }) {
    this.#g = g;
    this.#weights = weights;
    this.#groups = groups;
    this.#attends = attends;
  }

  /** A convolution by its name, as `g.conv2d` takes it. */
  conv(name, options) {
    return { weight: this.#weights.get(`${name}.weight`),
      bias: this.#weights.vector(`${name}.bias`), ...options };
  }

  /** A group norm by its name, as `g.conv2d` and `g.groupNorm` take it. */
  norm(name, silu = true) {
    return { weight: this.#weights.vector(`${name}.weight`),
      bias: this.#weights.vector(`${name}.bias`), groups: this.#groups, eps: EPS, silu };
  }

  /**
   * x + conv2(silu(norm2(conv1(silu(norm1(x)))))),
   * x through a 1x1 convolution where the width changes. x is gone afterwards.
   * @param {Picture} x
   */
  resnet(x, name) {
    const g = this.#g;
    const conv1 = this.conv(`${name}.conv1`, { norm: this.norm(`${name}.norm1`) });
    const [h, y] = this.#weights.has(`${name}.conv_shortcut.weight`)
      ? g.fork(x, [conv1, this.conv(`${name}.conv_shortcut`)]) : [g.conv2d(x, conv1), x];
    const conv2 = this.conv(`${name}.conv2`,
      { norm: this.norm(`${name}.norm2`), into: y, add: true });
    return g.conv2d(h, conv2, { last: true });
  }

  /**
   * The blocks in the middle of a half.
   * @param {Picture} x
   * @param {'encoder' | 'decoder'} half
   */
  middle(x, half) {
    const y = this.resnet(x, `${half}.mid_block.resnets.0`);
    if (this.#attends) this.#attention(y, `${half}.mid_block.attentions.0`);
    return this.resnet(y, `${half}.mid_block.resnets.1`);
  }

  /**
   * In place: one attention head as wide as the picture has channels, over all pixels. Queries,
   * keys and values are whole: at 2048 x 2048 a latent of 512 channels is what every device binds.
   */
  #attention(x, name) {
    const g = this.#g;
    g.scope(() => {
      const [H, W, C] = x.shape;
      const h = g.groupNorm(x, this.norm(`${name}.group_norm`, false));
      const pixels = (part) => {
        const y = g.empty([H, W, C], part);
        g.conv2d(h, this.conv(`${name}.${part}`, { into: y }));
        return y.reshape(H * W, C);
      };
      const a = g.attention(pixels('to_q'), pixels('to_k'), pixels('to_v'), { headWidth: C });
      g.conv2d(a.reshape(H, W, C), this.conv(`${name}.to_out.0`, { into: x, add: true }));
    });
  }
}
