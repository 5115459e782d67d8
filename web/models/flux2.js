/**
 * The FLUX.2 denoiser: velocity of a noisy latent picture, given text.
 * Reference: diffusers' Flux2Transformer2DModel. S text and L image tokens share one buffer
 * x [S + L, D], text first; D width, H heads of width Dh, F MLP width, C latent channels of a
 * token.
 */

/**
 * Chunks of a six-part modulation vector [6 D]: attention's, then the MLP's.
 * A three-part one has the first.
 */
const ATTENTION = { shift: 0, scale: 1, gate: 2 };
const MLP = { shift: 3, scale: 4, gate: 5 };
const f32 = Math.fround;

/** norm_out's linear gives scale before shift. */
const FINAL = { scale: 0, shift: 1 };

export class Flux2 {
  #g;
  #weights;
  #config;
  #width;

  /**
   * @param {import('../engine/ops.js').Ops} g
   * @param {import('../engine/weights.js').Weights} weights
   * @param {object} config the manifest's transformer configuration
   */
  constructor(g, weights, config) {
    this.#g = g;
    this.#weights = weights;
    this.#config = config;
    this.#width = config.num_attention_heads * config.attention_head_dim;
  }

  /**
   * What stays the same over the steps of one picture.
   * @param {import('../engine/memory.js').Tensor[]} taps encoder rows, a [S, Dt] each
   * @param {{ height: number, width: number }} grid of image tokens
   */
  prepare(taps, grid) {
    const g = this.#g;
    const embedder = this.#weights.get('context_embedder');                     // [D, taps * Dt]
    const [S, Dt] = taps[0].shape;
    const L = grid.height * grid.width;
    const text = g.empty([S, this.#width], 'context');
    taps.forEach((tap, i) => {
      g.linear(tap, embedder, { columns: [i * Dt, Dt], into: text, add: i > 0 });
    });
    const x = g.empty([S + L, this.#width], 'tokens');
    const Dh = this.#config.attention_head_dim;
    const angles = g.upload(rotaryAngles(S, grid, this.#config), [S + L, Dh / 2, 2], 'angles');
    return { text, x, angles, S, L };
  }

  /**
   * @param {import('../engine/memory.js').Tensor} latents [L, C]
   * @param {number} timestep 1000 sigma
   * @param {ReturnType<Flux2['prepare']>} state
   * @returns {import('../engine/memory.js').Tensor} velocity [L, C], recorded, not yet run
   */
  velocity(latents, timestep, { text, x, angles, S, L }) {
    const g = this.#g;
    const { num_layers: doubles, num_single_layers: singles, eps } = this.#config;
    const w = (name) => this.#weights.get(name);
    return g.scope(() => {
      const vec = this.#timeEmbedding(timestep);                                // silu(temb) [1, D]
      const image = x.rows(S, L);
      g.clone(text, x.rows(0, S));
      g.linear(latents, w('x_embedder'), { into: image });
      const modImage = g.linear(vec, w('double_stream_modulation_img.linear')); // [1, 6 D]
      const modText = g.linear(vec, w('double_stream_modulation_txt.linear'));  // [1, 6 D]
      const modSingle = g.linear(vec, w('single_stream_modulation.linear'));    // [1, 3 D]
      for (let i = 0; i < doubles; i++) {
        this.#doubleBlock(i, { x, angles, S, L, modImage, modText });
      }
      for (let i = 0; i < singles; i++) this.#singleBlock(i, { x, angles, mod: modSingle });
      const modFinal = g.linear(vec, w('norm_out.linear'));                     // [1, 2 D]
      return g.linear(g.layerNormModulate(image, modFinal, FINAL, eps), w('proj_out'));
    });
  }

  /** In place on x: attention over both streams with weights of their own, then their MLPs. */
  #doubleBlock(i, { x, angles, S, L, modImage, modText }) {
    const g = this.#g;
    const { eps, mlp_hidden: F } = this.#config;
    const w = (name) => this.#weights.get(`transformer_blocks.${i}.${name}`);
    const streams = [
      { rows: [0, S], mod: modText, q: 'add_q_proj', k: 'add_k_proj', v: 'add_v_proj',
        normQ: 'norm_added_q', normK: 'norm_added_k', out: 'to_add_out', mlp: 'ff_context' },
      { rows: [S, L], mod: modImage, q: 'to_q', k: 'to_k', v: 'to_v',
        normQ: 'norm_q', normK: 'norm_k', out: 'to_out.0', mlp: 'ff' },
    ];
    g.scope(() => {
      const [q, k, v] = ['q', 'k', 'v'].map((name) => g.empty(x.shape, name));  // [S + L, D]
      for (const stream of streams) {
        g.scope(() => {
          const h = g.layerNormModulate(x.rows(...stream.rows), stream.mod, ATTENTION, eps);
          const project = (name) => g.linear(h, w(`attn.${name}`));
          this.#normalised(project(stream.q), w(`attn.${stream.normQ}`), q.rows(...stream.rows));
          this.#normalised(project(stream.k), w(`attn.${stream.normK}`), k.rows(...stream.rows));
          g.linear(h, w(`attn.${stream.v}`), { into: v.rows(...stream.rows) });
        });
      }
      const a = this.#attend(q, k, v, angles);                                  // [S + L, D]
      for (const { rows, mod, out } of streams) {
        const y = g.linear(a.rows(...rows), w(`attn.${out}`));
        g.gatedAdd(x.rows(...rows), y, mod, ATTENTION.gate);
      }
    });
    for (const { rows, mod, mlp } of streams) {
      g.scope(() => {
        const wIn = w(`${mlp}.linear_in`);                                      // gate, up [2 F, D]
        const h = g.layerNormModulate(x.rows(...rows), mod, MLP, eps);
        const y = g.swigluMlp(h, {
          gate: [wIn, [0, F]], up: [wIn, [F, F]], down: [w(`${mlp}.linear_out`)],
        });
        g.gatedAdd(x.rows(...rows), y, mod, MLP.gate);
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
      const y = g.scope(() => {
        const project = (n) => g.linear(h, wIn, { rows: [n * D, D] });
        const q = this.#normalised(project(0), w('norm_q'));
        const k = this.#normalised(project(1), w('norm_k'));
        return g.linear(this.#attend(q, k, project(2), angles), wOut, { columns: [0, D] });
      });
      g.swigluMlp(h, {
        gate: [wIn, [3 * D, F]], up: [wIn, [3 * D + F, F]], down: [wOut, [D, F]],
        into: y, add: true,
      });
      g.gatedAdd(x, y, mod, ATTENTION.gate);
    });
  }

  /**
   * Per-head RMS norm of a projection that nothing else needs,
   * and into a part of a joint buffer if given.
   */
  #normalised(heads, weight, into) {
    const y = this.#g.rmsNorm(heads, weight.data, this.#config.eps);
    this.#g.release(heads);
    return into ? this.#g.clone(y, into) : y;
  }

  #attend(q, k, v, angles) {
    this.#g.rope(q, angles);
    this.#g.rope(k, angles);
    return this.#g.attention(q, k, v, { headWidth: this.#config.attention_head_dim });
  }

  /**
   * silu(MLP([cos, sin] of timestep * 10000^(-i / half))): the vector that all modulations are
   * linear in. Angles reach 1000 radians, where a rounding is visible, so they are rounded to
   * float32 where diffusers rounds them.
   */
  #timeEmbedding(timestep) {
    const g = this.#g;
    const half = this.#config.timestep_guidance_channels / 2;
    const waves = new Float32Array(2 * half);
    for (let i = 0; i < half; i++) {
      const exponent = f32(f32(f32(-Math.log(10000)) * i) / half);
      const angle = f32(timestep * f32(Math.exp(exponent)));
      waves[i] = Math.cos(angle);
      waves[half + i] = Math.sin(angle);
    }
    const embedder = (n) => this.#weights.get(`time_guidance_embed.timestep_embedder.linear_${n}`);
    const hidden = g.silu(g.linear(g.upload(waves, [1, 2 * half], 'time'), embedder(1)));
    return g.silu(g.linear(hidden, embedder(2)));                               // [1, D]
  }
}

/**
 * (cos, sin) for every token and frequency: positions (0, 0, 0, l) for text, (0, y, x, 0) for image
 * tokens, each axis with its own share of the head's pairs.
 * @returns {Float32Array} [S + L, Dh / 2, 2]
 */
function rotaryAngles(S, { height, width }, { axes_dims_rope: axes, rope_theta: theta }) {
  const frequencies = axes.map((dims) => Array.from({ length: dims / 2 },
    (_, i) => theta ** (-2 * i / dims)));
  const angles = new Float32Array((S + height * width) * 2 * frequencies.flat().length);
  let at = 0;
  const put = (position) => frequencies.forEach((axis, n) => axis.forEach((frequency) => {
    const angle = position[n] * frequency;
    angles[at++] = Math.cos(angle);
    angles[at++] = Math.sin(angle);
  }));
  for (let l = 0; l < S; l++) put([0, 0, 0, l]);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) put([0, y, x, 0]);
  return angles;
}
