/**
 * The Sana denoiser: velocity of a noisy latent picture, given text.
 * Reference: diffusers' SanaTransformer2DModel. n tokens of the picture, row by row, S of text;
 * D width, F MLP width, C latent channels of a token. Tokens see each other by linear attention
 * and by the depth-wise convolution in the MLP, and the text by cross-attention.
 */
import { positionsOf } from './sana_positions.js';
import { modulate } from './sana_tables.js';
/** @import { Denoiser } from '../families.js' */
/** @import { Tensor } from '../../engine/memory.js' */

/** Chunks of a block's modulation [6 D], and of the last norm's [2 D]. */
const ATTENTION = { shift: 0, scale: 1, gate: 2 };
const MLP = { shift: 3, scale: 4, gate: 5 };
const FINAL = { shift: 0, scale: 1 };

/** Of the class, whatever its configuration. */
const FINAL_EPS = 1e-6;
const RMS_EPS = 1e-5;

/**
 * What stays the same over the steps of one text: text [S, D], and of each block what its
 * cross-attention reads of that: keys and values [S, inner width], or the one row [1, D] that
 * attention to a single row of text comes to.
 * @typedef {{ text: Tensor, blocks: Tensor[][], grid: { height: number, width: number } }} State
 */

/** @implements {Denoiser} */
export class Sana {
  static LAYERS = ['transformer_blocks.'];
  static schedule = modulate;

  #g;
  #weights;
  #config;
  #modulations;
  #width;
  #positions = null;

  /**
   * @param {import('../../engine/ops.js').Ops} g
   * @param {import('../../engine/weights.js').Weights} weights
   * @param {Record<string, any>} config the manifest's transformer configuration
   * @param {import('./sana_tables.js').Modulations} modulations
   */
  constructor(g, weights, config, modulations) {
    this.#g = g;
    this.#weights = weights;
    this.#config = config;
    this.#modulations = modulations;
    this.#width = config.num_attention_heads * config.attention_head_dim;
  }

  /**
   * The text encoder's rows are released.
   * @param {{ rows: Tensor[] }[]} encoded of the one text encoder: [S, Dt], padding left out
   * @param {{ grid: { height: number, width: number } }} conditions
   * @returns {State}
   */
  prepare([{ rows: [rows] }], { grid }) {
    const g = this.#g;
    const text = g.scope(() => {
      const hidden = this.#linear('caption_projection.linear_1', rows, { act: 'gelu_tanh' });
      const y = this.#linear('caption_projection.linear_2', hidden);
      return g.rmsNorm(y, this.#weights.vector('caption_norm'), RMS_EPS);
    });
    g.release(rows);
    if (this.#config.interpolation_scale) {
      this.#positions ??= g.upload(positionsOf(grid, this.#config, this.#width),
        [grid.height * grid.width, this.#width], 'positions');
    }
    return { text, blocks: [], grid };
  }

  /**
   * @param {Tensor} latents [n, C]
   * @param {number} step
   * @param {State} state
   * @param {{ signal?: AbortSignal, observe: Function }} hooks observe(name, shape, tensor) sees
   *   the tokens after every block: 'layer.0' ..
   * @returns {Promise<Tensor>} velocity [n, C], its last ops recorded, not yet run
   */
  async velocity(latents, step, state, { signal, observe }) {
    const g = this.#g;
    const D = this.#width;
    const { block, final } = this.#modulations.at(step);
    const x = this.#linear('patch_embed.proj', latents);                        // [n, D]
    if (this.#positions) g.addScaled(x, this.#positions, 1);
    const common = g.upload(block, [6, D], 'modulation');
    const names = Array.from({ length: this.#config.num_layers },
      (_, i) => `transformer_blocks.${i}`);
    await this.#weights.layers(names, (i) => {
      state.blocks[i] ??= this.#textOf(names[i], state.text);
      if (g.rehearsal) this.#rehearseOneRow(names[i], x, state.text);
      g.scope(() => {
        const own = this.#weights.vector(`${names[i]}.scale_shift_table`).reshape(6, D);
        const mod = g.addScaled(g.clone(own), common, 1);
        this.#selfAttention(names[i], x, mod);
        this.#crossAttention(names[i], x, state.blocks[i]);
        this.#feedForward(names[i], x, mod, state.grid);
      });
      return observe(`layer.${i}`, x.shape, x);
    }, { signal });
    const velocity = g.scope(() => {
      const mod = g.upload(final, [2, D], 'last modulation');
      return this.#linear('proj_out', g.layerNormModulate(x, mod, FINAL, FINAL_EPS));
    });
    g.release(x, common);
    return velocity;
  }

  /** Lets go of what was prepared; the denoiser is of no use afterwards. */
  release(...states) {
    const g = this.#g;
    states.forEach(({ text, blocks }) => g.release(text, ...blocks.flat()));
    if (this.#positions) g.release(this.#positions);
  }

  /** In place: x += gate * (linear attention of x, normalised). */
  #selfAttention(block, x, mod) {
    const g = this.#g;
    const { attention_head_dim: headWidth, norm_eps: eps } = this.#config;
    g.scope(() => {
      const h = g.layerNormModulate(x, mod, ATTENTION, eps);
      const q = this.#projected(`${block}.attn1`, 'q', h);
      const k = this.#projected(`${block}.attn1`, 'k', h);
      const v = this.#linear(`${block}.attn1.to_v`, h);
      g.release(h);
      const a = g.linearAttention(q, k, v, { headWidth });
      g.release(q, k, v);
      this.#linear(`${block}.attn1.to_out.0`, a, { into: x, gate: [mod, ATTENTION.gate] });
    });
  }

  /**
   * In place: x += attention of x, as it is, to the text.
   * @param {string} block
   * @param {Tensor} x
   * @param {Tensor[]} read keys and values, or the one row
   */
  #crossAttention(block, x, [k, v]) {
    const g = this.#g;
    if (!v) {
      g.addRow(x, k);
      return;
    }
    g.scope(() => {
      const q = this.#projected(`${block}.attn2`, 'q', x);
      const a = g.attention(q, k, v, { headWidth: this.#config.cross_attention_head_dim });
      g.release(q);
      this.#linear(`${block}.attn2.to_out.0`, a, { into: x, add: true });
    });
  }

  /** Any text may be empty, which takes other kernels; a rehearsal has all of them. */
  #rehearseOneRow(block, x, text) {
    this.#g.scope(() => this.#crossAttention(block, x, this.#textOf(block, text.rows(0, 1))));
  }

  /** In place: x += gate * (gated MLP of x, normalised, over the map). */
  #feedForward(block, x, mod, { height, width }) {
    const g = this.#g;
    /** @returns {[import('../../engine/weights.js').Weight, Tensor]} */
    const convolution = (name) => [this.#weights.get(`${block}.ff.${name}`),
      this.#weights.vector(`${block}.ff.${name}.bias`)];
    g.scope(() => {
      const h = g.layerNormModulate(x, mod, MLP, this.#config.norm_eps);
      g.glumbConv(h, { height, width, inverted: convolution('conv_inverted'),
        depth: convolution('conv_depth'), point: this.#weights.get(`${block}.ff.conv_point`),
      }, { into: x, gate: [mod, MLP.gate] });
    });
  }

  /**
   * What a block's cross-attention reads of the text. All weight is on a single row of it, so that
   * attention is then one vector, whatever the tokens of the picture.
   */
  #textOf(block, text) {
    return this.#g.scope(() => {
      const v = this.#linear(`${block}.attn2.to_v`, text);
      if (text.shape[0] === 1) return [this.#linear(`${block}.attn2.to_out.0`, v)];
      return [this.#projected(`${block}.attn2`, 'k', text), v];
    });
  }

  /** Queries or keys, normalised over all heads together where the model does so. */
  #projected(attention, kind, x) {
    const y = this.#linear(`${attention}.to_${kind}`, x);
    if (!this.#config.qk_norm) return y;
    const normed = this.#g.rmsNorm(y, this.#weights.vector(`${attention}.norm_${kind}`), RMS_EPS);
    this.#g.release(y);
    return normed;
  }

  /** The linear of this name, with the bias that it may have. */
  #linear(name, x, options = {}) {
    const own = `${name}.bias`;
    const bias = this.#weights.has(own) ? this.#weights.vector(own) : undefined;
    return this.#g.linear(x, this.#weights.get(name), { bias, ...options });
  }
}
