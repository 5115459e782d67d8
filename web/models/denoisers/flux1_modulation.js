/**
 * What FLUX.1's blocks are modulated by: vectors that depend on the time, the guidance and the
 * text, each through projections of its own, which are a quarter of all weights. The times are
 * known beforehand, so a projection is read once for several steps. D width, R steps at once.
 */
import { timeWaves, timestepOf } from './time_embedding.js';
/** @import { Tensor } from '../../engine/memory.js' */

/** Steps whose modulations are computed at once: as many rows as the kernels for few rows take. */
const STEPS_AT_ONCE = 8;

/** In the names of blocks' projections. */
const PROJECTION = /\.norm(1|1_context)?\.linear\./;

export class Modulations {
  #g;
  #weights;
  #config;
  #text;
  #times;
  #guidance;
  #vectors;
  #projected = new Map();
  #run = { first: -1, count: 0 };
  #filled = new Set();
  #row = 0;

  /**
   * Buffers for all of them, so that every step finds the same.
   * @param {import('../../engine/ops.js').Ops} g
   * @param {import('../../engine/weights.js').Weights} weights
   * @param {Record<string, any>} config the manifest's transformer configuration
   * @param {Tensor} text [1, P], pooled; taken over
   * @param {{ times: number[], guidanceScale: number }} conditions
   */
  constructor(g, weights, config, text, { times, guidanceScale }) {
    this.#g = g;
    this.#weights = weights;
    this.#config = config;
    this.#text = text;
    this.#times = times.map(timestepOf);
    this.#guidance = Math.fround(Math.fround(guidanceScale) * 1000);
    const D = config.num_attention_heads * config.attention_head_dim;
    const R = Math.min(STEPS_AT_ONCE, times.length);
    this.#vectors = g.empty([R, D], 'modulating vectors');
    for (const [name, parts] of projections(config)) {
      this.#projected.set(name, g.empty([R, parts * D], name));
    }
  }

  /**
   * From now on those of this step.
   * @returns {RegExp | undefined} in the names of weights that it has no use for, the blocks'
   *   projections being done
   */
  begin(step) {
    this.#row = step % STEPS_AT_ONCE;
    const first = step - this.#row;
    if (this.#run.first === first) return PROJECTION;
    const times = this.#times.slice(first, first + STEPS_AT_ONCE);
    this.#run = { first, count: times.length };
    this.#filled.clear();
    this.#embed(times);
    return undefined;
  }

  /**
   * The step's modulation by the projection of this name, whose block is on the GPU.
   * @param {string} name as far as '.linear'
   * @returns {Tensor} [1, 6 D], [1, 3 D] of a single block or [1, 2 D] of the last norm
   */
  at(name) {
    const rows = this.#projected.get(name);
    if (!this.#filled.has(name)) {
      const { count } = this.#run;
      this.#linear(`${name}.linear`, this.#vectors.rows(0, count), { into: rows.rows(0, count) });
      this.#filled.add(name);
    }
    return rows.rows(this.#row, 1);
  }

  release() {
    this.#g.release(this.#text, this.#vectors, ...this.#projected.values());
  }

  /** silu(time + guidance + text) [times.length, D]: what all modulations are linear in. */
  #embed(times) {
    const g = this.#g;
    const { timestep_channels: channels, guidance_embeds: isGuided } = this.#config;
    const waves = (values) => (
      g.upload(timeWaves(values, channels), [values.length, channels], 'time'));
    g.scope(() => {
      const sum = this.#mlp('timestep_embedder', waves(times));
      if (isGuided) g.addRow(sum, this.#mlp('guidance_embedder', waves([this.#guidance])));
      g.addRow(sum, this.#mlp('text_embedder', this.#text));
      g.clone(g.silu(sum), this.#vectors.rows(0, times.length));
    });
  }

  #mlp(embedder, x) {
    const linear = (n) => `time_text_embed.${embedder}.linear_${n}`;
    return this.#linear(linear(2), this.#linear(linear(1), x, { act: 'silu' }));
  }

  #linear(name, x, options = {}) {
    return this.#g.linear(x, this.#weights.get(name),
      { bias: this.#weights.vector(`${name}.bias`), ...options });
  }
}

/**
 * Each projection with the number of vectors [D] that it gives.
 * @param {Record<string, any>} config
 * @returns {[string, number][]}
 */
function projections({ num_layers: doubles, num_single_layers: singles }) {
  const list = (count, names) => Array.from({ length: count }, (_, i) => names(i)).flat(1);
  return [
    ...list(doubles, (i) => ['norm1', 'norm1_context'].map(
      (norm) => [`transformer_blocks.${i}.${norm}`, 6])),
    ...list(singles, (i) => [[`single_transformer_blocks.${i}.norm`, 3]]),
    ['norm_out', 2],
  ];
}
