/**
 * What the FLUX.2 denoiser's blocks are modulated by: vectors that depend on the timestep alone.
 * A table that was computed at export where the schedule has one, else projections of the time
 * embedding, for all timesteps at once. D width, T timesteps, L image tokens.
 */
const f32 = Math.fround;

/** First and number of a row's vectors [D]: double_stream img and txt, single_stream, norm_out. */
const PARTS = [[0, 6], [6, 6], [12, 3], [15, 2]];
const ROW = 17;

const EMBEDDER = 'time_guidance_embed.timestep_embedder';
const PROJECTIONS = ['double_stream_modulation_img', 'double_stream_modulation_txt',
  'single_stream_modulation', 'norm_out'];

/**
 * @typedef {object} Modulations
 * @property {import('../../engine/memory.js').Tensor[]} tensors to be released by the caller
 * @property {(step: number) => import('../../engine/memory.js').Tensor[]} at image and text [6 D],
 *   single [3 D], final [2 D]
 */

/** The name of the schedule's table, or undefined. */
function tableOf({ tables }, L, steps) {
  return tables.find((name) => name === `transformer.folded.${L}.${steps}`);
}

/**
 * Names of the tensors that `modulate` reads.
 * @param {{ tables: string[], projections: string[] }} folding the manifest's
 * @param {number} L
 * @param {number} steps
 */
export function modulationTensors(folding, L, steps) {
  const table = tableOf(folding, L, steps);
  return table ? [table] : folding.projections;
}

/**
 * @param {object} parts g, stages and files, as `draw` has them
 * @param {object} config the manifest's transformer configuration
 * @param {object} folding the manifest's
 * @param {number} L
 * @param {number[]} timesteps [T], one a step, in float32
 * @param {AbortSignal} [signal]
 * @returns {Promise<Modulations>}
 */
export async function modulate({ g, stages, files }, config, folding, L, timesteps, signal) {
  const table = tableOf(folding, L, timesteps.length);
  if (table) return look(g, files, table);
  return project(g, stages, config, folding, timesteps, signal);
}

async function look(g, files, table) {
  const { shape: [T, columns] } = files.entry(table);
  const rows = g.upload(await files.floats(table), [T * ROW, columns / ROW], 'modulations');
  const at = (step) => PARTS.map(([first, count]) => rows.rows(ROW * step + first, count));
  return { tensors: [rows], at };
}

/** One projection is on the GPU at a time. */
async function project(g, stages, config, { projections }, timesteps, signal) {
  const groups = [EMBEDDER, ...PROJECTIONS];
  const tensors = await stages.pass('transformer', { names: projections, groups, signal },
    async (weights) => {
      let vector;
      const projected = [];
      await weights.layers(groups, (i) => {
        if (i === 0) vector = timeEmbedding(g, weights, config, timesteps);
        else projected.push(g.linear(vector, weights.get(`${groups[i]}.linear`)));
      }, { signal });
      g.release(vector);
      return projected;
    });
  await g.drain({ signal });
  return { tensors, at: (step) => tensors.map((rows) => rows.rows(step, 1)) };
}

/**
 * silu(MLP([cos, sin] of timestep * 10000^(-i / half))) [T, D]: what all modulations are linear in.
 * Angles reach 1000 radians, where a rounding is visible, so they are rounded to float32 where
 * diffusers rounds them.
 */
function timeEmbedding(g, weights, config, timesteps) {
  const { timestep_guidance_channels: channels } = config;
  const half = channels / 2;
  const waves = new Float32Array(timesteps.length * channels);
  for (let i = 0; i < half; i++) {
    const frequency = f32(Math.exp(f32(f32(f32(-Math.log(10000)) * i) / half)));
    timesteps.forEach((time, t) => {
      const angle = f32(time * frequency);
      waves[t * channels + i] = Math.cos(angle);
      waves[t * channels + half + i] = Math.sin(angle);
    });
  }
  const embedder = (n) => weights.get(`${EMBEDDER}.linear_${n}`);
  return g.scope(() => {
    const times = g.upload(waves, [timesteps.length, channels], 'time');
    return g.silu(g.linear(g.silu(g.linear(times, embedder(1))), embedder(2)));
  });
}
