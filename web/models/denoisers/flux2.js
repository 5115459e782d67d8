/**
 * The FLUX.2 denoiser: velocity of a noisy latent picture, given text.
 * Reference: diffusers' Flux2Transformer2DModel. S text and I image tokens share one buffer
 * x [S + I, D], text first; of the I image tokens the first L are the picture's, the others those
 * of reference images. D width, H heads of width Dh, F MLP width, C latent channels of a token.
 */
import { attend, blockNames, rotaryAngles, turnHeads } from './flux.js';
import { feed } from './flux2_graph.js';
import { modulate } from './flux2_tables.js';
/** @import { Denoiser } from '../families.js' */

/**
 * Chunks of a six-part modulation vector [6 D]: attention's, then the MLP's.
 * A three-part one has the first.
 */
const ATTENTION = { shift: 0, scale: 1, gate: 2 };
const MLP = { shift: 3, scale: 4, gate: 5 };

/** Between one image and the next, the picture being the first, along the axis t. */
const REFERENCE_DISTANCE = 10;

/** norm_out's linear gives scale before shift. */
const FINAL = { scale: 0, shift: 1 };

/** @implements {Denoiser} */
export class Flux2 {
  static LAYERS = ['transformer_blocks.', 'single_transformer_blocks.'];
  static schedule = modulate;
  static feed = feed;

  #g;
  #weights;
  #config;
  #modulations;
  #width;

  /**
   * @param {import('../../engine/ops.js').Ops} g
   * @param {import('../../engine/weights.js').Weights} weights
   * @param {Record<string, any>} config the manifest's transformer configuration
   * @param {import('./flux2_tables.js').Modulations} modulations
   */
  constructor(g, weights, config, modulations) {
    this.#g = g;
    this.#weights = weights;
    this.#config = config;
    this.#modulations = modulations;
    this.#width = config.num_attention_heads * config.attention_head_dim;
  }

  /**
   * What stays the same over the steps of one picture. The text encoder's rows are released.
   * @param {{ rows: import('../../engine/memory.js').Tensor[] }[]} encoded of the one text encoder:
   *   a [S, Dt] per tap
   * @param {import('../families.js').Conditions} conditions references: tokens [height * width, C]
   *   each
   */
  prepare([{ rows: taps }], { grid, references }) {
    const g = this.#g;
    const embedder = this.#weights.get('context_embedder');                     // [D, taps * Dt]
    const [S, Dt] = taps[0].shape;
    const [L, ...others] = [grid, ...references].map(({ height, width }) => height * width);
    const I = others.reduce((sum, count) => sum + count, L);
    const text = g.empty([S, this.#width], 'context');
    taps.forEach((tap, i) => {
      g.linear(tap, embedder, { columns: [i * Dt, Dt], into: text, add: i > 0 });
    });
    const x = g.empty([S + I, this.#width], 'tokens');
    const Dh = this.#config.attention_head_dim;
    const positions = positionsOf(S, [grid, ...references]);
    const angles = g.upload(rotaryAngles(positions, this.#config), [S + I, Dh / 2, 2], 'angles');
    g.release(...taps);
    return { text, x, angles, references: references.map(({ tokens }) => tokens), S, L, I };
  }

  /**
   * @param {import('../../engine/memory.js').Tensor} latents [L, C]
   * @param {number} step
   * @param {ReturnType<Flux2['prepare']>} state
   * @param {{ signal?: AbortSignal, observe: Function }} hooks observe(name, shape, tensor) sees
   *   the tokens after every block: 'double.0' .., 'single.0' ..
   * @returns {Promise<import('../../engine/memory.js').Tensor>} velocity [L, C], its last ops
   *   recorded, not yet run
   */
  async velocity(latents, step, state, { signal, observe }) {
    const { text, x, angles, references, S, L, I } = state;
    const g = this.#g;
    const { num_layers: doubles, num_single_layers: singles, eps } = this.#config;
    const w = (name) => this.#weights.get(name);
    const image = x.rows(S, L);
    g.clone(text, x.rows(0, S));
    let row = S;
    for (const tokens of [latents, ...references]) {
      g.linear(tokens, w('x_embedder'), { into: x.rows(row, tokens.shape[0]) });
      row += tokens.shape[0];
    }
    const [modImage, modText, modSingle, modFinal] = this.#modulations.at(step);
    await this.#weights.layers(blockNames('transformer_blocks', doubles), (i) => {
      this.#doubleBlock(i, { x, angles, S, I, modImage, modText });
      return observe(`double.${i}`, x.shape, x);
    }, { signal });
    await g.drain({ signal }); // buffers as long as one stream have no use from here on
    await this.#weights.layers(blockNames('single_transformer_blocks', singles), (i) => {
      this.#singleBlock(i, { x, angles, mod: modSingle });
      return observe(`single.${i}`, x.shape, x);
    }, { signal });
    return g.scope(() => {
      return g.linear(g.layerNormModulate(image, modFinal, FINAL, eps), w('proj_out'));
    });
  }

  /** Lets go of what was prepared; the denoiser is of no use afterwards. */
  release(...states) {
    for (const { text, x, angles, references } of states) {
      this.#g.release(text, x, angles, ...references);
    }
    this.#g.release(...this.#modulations.tensors);
  }

  /** In place on x: attention over both streams with weights of their own, then their MLPs. */
  #doubleBlock(i, { x, angles, S, I, modImage, modText }) {
    const g = this.#g;
    const { eps, mlp_hidden: F } = this.#config;
    const w = (name) => this.#weights.get(`transformer_blocks.${i}.${name}`);
    const streams = [
      { rows: [0, S], mod: modText, q: 'add_q_proj', k: 'add_k_proj', v: 'add_v_proj',
        normQ: 'norm_added_q', normK: 'norm_added_k', out: 'to_add_out', mlp: 'ff_context' },
      { rows: [S, I], mod: modImage, q: 'to_q', k: 'to_k', v: 'to_v',
        normQ: 'norm_q', normK: 'norm_k', out: 'to_out.0', mlp: 'ff' },
    ];
    g.scope(() => {
      const [q, k, v] = ['q', 'k', 'v'].map((name) => g.empty(x.shape, name));  // [S + I, D]
      for (const stream of streams) {
        g.scope(() => {
          const h = g.layerNormModulate(x.rows(...stream.rows), stream.mod, ATTENTION, eps);
          const project = (name) => g.linear(h, w(`attn.${name}`));
          const turned = (name, norm, into) => this.#turned(project(name), w(`attn.${norm}`), angles,
            { t0: stream.rows[0], into: into.rows(...stream.rows) });
          turned(stream.q, stream.normQ, q);
          turned(stream.k, stream.normK, k);
          g.linear(h, w(`attn.${stream.v}`), { into: v.rows(...stream.rows) });
        });
      }
      const a = this.#attend(q, k, v);                                          // [S + I, D]
      for (const { rows, mod, out } of streams) {
        g.linear(a.rows(...rows), w(`attn.${out}`),
          { into: x.rows(...rows), gate: [mod, ATTENTION.gate] });
      }
    });
    for (const { rows, mod, mlp } of streams) {
      g.scope(() => {
        const wIn = w(`${mlp}.linear_in`);                                      // gate, up [2 F, D]
        const h = g.layerNormModulate(x.rows(...rows), mod, MLP, eps);
        g.gatedMlp(h, { gate: [wIn, [0, F]], up: [wIn, [F, F]], down: [w(`${mlp}.linear_out`)] },
          'silu', { into: x.rows(...rows), gate: [mod, MLP.gate] });
      });
    }
  }

  /** In place on x: attention and MLP side by side, from one fused projection and into another. */
  #singleBlock(i, { x, angles, mod }) {
    const g = this.#g;
    const { eps, mlp_hidden: F } = this.#config;
    const D = this.#width;
    const w = (name) => this.#weights.get(`single_transformer_blocks.${i}.attn.${name}`);
    g.scope(() => {
      const wIn = w('to_qkv_mlp_proj');                                         // [3 D + 2 F, D]
      const wOut = w('to_out');                                                 // [D, D + F]
      const h = g.layerNormModulate(x, mod, ATTENTION, eps);
      const gated = { into: x, gate: [mod, ATTENTION.gate] };
      g.scope(() => {
        const project = (n) => g.linear(h, wIn, { rows: [n * D, D] });
        const q = this.#turned(project(0), w('norm_q'), angles);
        const k = this.#turned(project(1), w('norm_k'), angles);
        g.linear(this.#attend(q, k, project(2)), wOut, { columns: [0, D], ...gated });
      });
      g.gatedMlp(h, {
        gate: [wIn, [3 * D, F]], up: [wIn, [3 * D + F, F]], down: [wOut, [D, F]],
      }, 'silu', gated);
    });
  }

  /** A projection's heads, normalised and turned. */
  #turned(heads, norm, angles, part) {
    return turnHeads(this.#g, heads, norm.data, angles, this.#config.eps, part);
  }

  /** Attention over all tokens. */
  #attend(q, k, v) {
    return attend(this.#g, q, k, v, this.#config.attention_head_dim);
  }
}

/**
 * Of every token: (0, 0, 0, l) for text, (10 n, y, x, 0) for the tokens of grid n.
 * @returns {number[][]} [S + I]
 */
function positionsOf(S, grids) {
  const positions = Array.from({ length: S }, (_, l) => [0, 0, 0, l]);
  grids.forEach(({ height, width }, n) => {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) positions.push([REFERENCE_DISTANCE * n, y, x, 0]);
    }
  });
  return positions;
}
