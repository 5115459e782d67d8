/**
 * The FLUX.1 denoiser: velocity of a noisy latent picture, given text.
 * Reference: diffusers' FluxTransformer2DModel. S text and L image tokens share one buffer
 * x [S + L, D], text first. D width, H heads of width Dh, F MLP width, C latent channels of a token.
 */
import { attend, blockNames, rotaryAngles, turnHeads } from './flux.js';
import { Modulations } from './flux1_modulation.js';
/** @import { Denoiser } from '../families.js' */
/** @import { Tensor } from '../../engine/memory.js' */

/**
 * Chunks of a block's modulation [6 D]: attention's, then the MLP's. Of a single block's [3 D] the
 * first three are for both.
 */
const ATTENTION = { shift: 0, scale: 1, gate: 2 };
const MLP = { shift: 3, scale: 4, gate: 5 };

/** norm_out's linear gives scale before shift. */
const FINAL = { scale: 0, shift: 1 };

/**
 * What stays the same over the steps of one text: text [S, D] as the blocks begin with it, angles
 * [S + L, Dh / 2, 2]; and x, where the tokens are.
 * @typedef {{ text: Tensor, x: Tensor, angles: Tensor, modulations: Modulations, S: number,
 *   L: number }} State
 */

/** @implements {Denoiser} */
export class Flux1 {
  static LAYERS = ['transformer_blocks.', 'single_transformer_blocks.'];

  #g;
  #weights;
  #config;
  #width;

  /**
   * @param {import('../../engine/ops.js').Ops} g
   * @param {import('../../engine/weights.js').Weights} weights
   * @param {Record<string, any>} config the manifest's transformer configuration
   */
  constructor(g, weights, config) {
    this.#g = g;
    this.#weights = weights;
    this.#config = config;
    this.#width = config.num_attention_heads * config.attention_head_dim;
  }

  /**
   * The text encoders' rows are released, those of the pooled text at the end.
   * @param {{ rows: Tensor[] }[]} encoded CLIP's [1, P] and T5's [S, Dt], padding included
   * @param {{ grid: { height: number, width: number }, times: number[], guidanceScale: number }}
   *   conditions guidanceScale is told to a model that embeds it
   * @returns {State}
   */
  prepare([{ rows: [pooled] }, { rows: [rows] }], { grid, times, guidanceScale }) {
    const g = this.#g;
    const [S, L] = [rows.shape[0], grid.height * grid.width];
    const text = this.#linear('context_embedder', rows);                        // [S, D]
    g.release(rows);
    const x = g.empty([S + L, this.#width], 'tokens');
    const angles = g.upload(rotaryAngles(positionsOf(S, grid), this.#config),
      [S + L, this.#config.attention_head_dim / 2, 2], 'angles');
    const modulations = new Modulations(g, this.#weights, this.#config, pooled,
      { times, guidanceScale });
    return { text, x, angles, modulations, S, L };
  }

  /**
   * @param {Tensor} latents [L, C]
   * @param {number} step
   * @param {State} state
   * @param {{ signal?: AbortSignal, observe: Function }} hooks observe(name, shape, tensor) sees
   *   the tokens after every block: 'double.0' .., 'single.0' ..
   * @returns {Promise<Tensor>} velocity [L, C], its last ops recorded, not yet run
   */
  async velocity(latents, step, state, { signal, observe }) {
    const { text, x, modulations, S, L } = state;
    const g = this.#g;
    const { num_layers: doubles, num_single_layers: singles, eps } = this.#config;
    g.clone(text, x.rows(0, S));
    this.#linear('x_embedder', latents, { into: x.rows(S, L) });
    modulations.begin(step);
    const doubleNames = blockNames('transformer_blocks', doubles);
    await this.#weights.layers(doubleNames, (i) => {
      this.#doubleBlock(doubleNames[i], state);
      return observe(`double.${i}`, x.shape, x);
    }, { signal });
    await g.drain({ signal }); // buffers as long as one stream have no use from here on
    const singleNames = blockNames('single_transformer_blocks', singles);
    await this.#weights.layers(singleNames, (i) => {
      this.#singleBlock(singleNames[i], state);
      return observe(`single.${i}`, x.shape, x);
    }, { signal });
    return g.scope(() => {
      const mod = modulations.at('norm_out');
      return this.#linear('proj_out', g.layerNormModulate(x.rows(S, L), mod, FINAL, eps));
    });
  }

  /** Lets go of what was prepared; the denoiser is of no use afterwards. */
  release(...states) {
    for (const { text, x, angles, modulations } of states) {
      this.#g.release(text, x, angles);
      modulations.release();
    }
  }

  /** In place on x: attention over both streams with weights of their own, then their MLPs. */
  #doubleBlock(block, { x, angles, modulations, S, L }) {
    const g = this.#g;
    const { eps } = this.#config;
    const streams = [
      { rows: [0, S], mod: modulations.at(`${block}.norm1_context`), qkv: ['add_q_proj',
        'add_k_proj', 'add_v_proj'], norms: ['norm_added_q', 'norm_added_k'], out: 'to_add_out',
      mlp: 'ff_context' },
      { rows: [S, L], mod: modulations.at(`${block}.norm1`), qkv: ['to_q', 'to_k', 'to_v'],
        norms: ['norm_q', 'norm_k'], out: 'to_out.0', mlp: 'ff' },
    ];
    g.scope(() => {
      const [q, k, v, raw] = ['q', 'k', 'v', 'raw heads']                      // [S + L, D] each
        .map((name) => g.empty(x.shape, name));
      for (const { rows, mod, qkv, norms } of streams) {
        g.scope(() => {
          const h = g.layerNormModulate(x.rows(...rows), mod, ATTENTION, eps);
          const project = (n, into) => this.#linear(`${block}.attn.${qkv[n]}`, h,
            { into: into.rows(...rows) });
          [q, k].forEach((turned, n) => {
            const norm = this.#weights.vector(`${block}.attn.${norms[n]}`);
            g.rmsNormRope(project(n, raw), norm, angles, eps,
              { t0: rows[0], into: turned.rows(...rows) });
          });
          project(2, v);
        });
      }
      g.release(raw); // attention takes its place
      const a = attend(g, q, k, v, this.#config.attention_head_dim);            // [S + L, D]
      for (const { rows, mod, out } of streams) {
        this.#linear(`${block}.attn.${out}`, a.rows(...rows),
          { into: x.rows(...rows), gate: [mod, ATTENTION.gate] });
      }
    });
    for (const { rows, mod, mlp } of streams) {
      g.scope(() => {
        const h = g.layerNormModulate(x.rows(...rows), mod, MLP, eps);
        g.mlp(h, { up: this.#biased(`${block}.${mlp}.net.0.proj`),
          down: [this.#weights.get(`${block}.${mlp}.net.2`)] }, 'gelu_tanh',
        { bias: this.#weights.vector(`${block}.${mlp}.net.2.bias`), into: x.rows(...rows),
          gate: [mod, MLP.gate] });
      });
    }
  }

  /** In place on x: attention and MLP side by side, and one projection of both together. */
  #singleBlock(block, { x, angles, modulations }) {
    const g = this.#g;
    const { eps, mlp_hidden: F } = this.#config;
    const D = this.#width;
    g.scope(() => {
      const mod = modulations.at(`${block}.norm`);
      const h = g.layerNormModulate(x, mod, ATTENTION, eps);
      const gated = { into: x, gate: [mod, ATTENTION.gate] };
      const [out, bias] = this.#biased(`${block}.proj_out`);                    // [D, D + F]
      g.scope(() => {
        const project = (kind) => this.#linear(`${block}.attn.to_${kind}`, h);
        const turned = (kind) => turnHeads(g, project(kind),
          this.#weights.vector(`${block}.attn.norm_${kind}`), angles, eps);
        const [q, k, v] = [turned('q'), turned('k'), project('v')];
        const a = attend(g, q, k, v, this.#config.attention_head_dim);
        g.linear(a, out, { columns: [0, D], bias, ...gated });
      });
      g.mlp(h, { up: this.#biased(`${block}.proj_mlp`), down: [out, [D, F]] }, 'gelu_tanh', gated);
    });
  }

  #linear(name, x, options = {}) {
    const [weight, bias] = this.#biased(name);
    return this.#g.linear(x, weight, { bias, ...options });
  }

  /** @returns {[import('../../engine/weights.js').Weight, Tensor]} the linear of this name */
  #biased(name) {
    return [this.#weights.get(name), this.#weights.vector(`${name}.bias`)];
  }
}

/**
 * Of every token: (0, 0, 0) for text, (0, y, x) for the picture's.
 * @returns {number[][]} [S + L]
 */
function positionsOf(S, { height, width }) {
  const positions = Array.from({ length: S }, () => [0, 0, 0]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) positions.push([0, y, x]);
  }
  return positions;
}
