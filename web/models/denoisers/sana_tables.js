/**
 * What the Sana denoiser's blocks are modulated by: vectors that depend on the timestep alone, and
 * on the guidance where it is embedded. A table that was computed at export where the schedule has
 * one, else projections of the time embedding. D width, T timesteps.
 */
import { tableOf } from '../../loader/requested.js';
import { timeWaves } from './time_embedding.js';

const f32 = Math.fround;

/** Waves of a timestep, and of a guidance; the class has no other number. */
const CHANNELS = 256;

/** Vectors [D] of a row: the blocks' six, each added to a table of the block's own, and the last
 * norm's shift and scale. */
const BLOCK = 6;
const FINAL = 2;

/** The last norm's own shift and scale [2, D], to which the embedded timestep is added. */
const FINAL_TABLE = 'scale_shift_table';

/**
 * block [6 D] and final [2 D] at a step.
 * @typedef {{ at: (step: number) => { block: Float32Array, final: Float32Array } }} Modulations
 */

/**
 * @param {import('../families.js').Parts} parts
 * @param {import('../families.js').Conditions} conditions
 * @param {{ signal?: AbortSignal }} hooks
 * @returns {Promise<Modulations>}
 */
export async function modulate(parts, { grid, times, guidanceScale }, { signal }) {
  const { files, manifest: { schedules, components: { transformer: { config } } } } = parts;
  const D = config.num_attention_heads * config.attention_head_dim;
  const table = tableOf(schedules, grid.height * grid.width, times.length, guidanceScale);
  const rows = table ? await files.floats(table)
    : await project(parts, D, { times, guidanceScale }, signal);                // [T, 8 D]
  const part = (step, first, count) => {
    const at = ((BLOCK + FINAL) * step + first) * D;
    return rows.subarray(at, at + count * D);
  };
  return { at: (step) => ({ block: part(step, 0, BLOCK), final: part(step, BLOCK, FINAL) }) };
}

/**
 * What the denoiser makes of a sampler's times: the pipeline scales them in float32.
 * @param {number[]} times
 * @param {{ timestep_scale: number }} config
 */
export function timestepsOf(times, { timestep_scale: scale }) {
  return times.map((time) => f32(f32(time) * f32(scale)));
}

/** The rows of a table, [T, 8 D], computed on the GPU; one projection is there at a time. */
async function project({ g, stages, files, manifest }, D, { times, guidanceScale }, signal) {
  const { schedules: { projections }, components: { transformer: { config } } } = manifest;
  const T = times.length;
  const told = toldOf(config, times, guidanceScale);
  const groups = [...told.map(({ embedder }) => embedder), 'time_embed.linear'];
  const names = projections.filter((name) => !name.endsWith(`.${FINAL_TABLE}`));
  const [six, embedded] = await stages.pass('transformer', { names, groups, signal },
    async (weights) => {
      const sum = g.empty([T, D], 'embedded timestep');
      let six;
      await weights.layers(groups, (i) => {
        if (i < told.length) embed(g, weights, told[i], i > 0, sum);
        else six = modulations(g, weights, sum);
      }, { signal });
      const read = async (tensor) => new Float32Array(await g.read(tensor, { signal }));
      const values = [await read(six), await read(sum)];
      g.release(six, sum);
      return values;
    });
  await g.drain({ signal });
  const own = await files.floats(`transformer.${FINAL_TABLE}`);                 // [2 D]
  const rows = new Float32Array(T * (BLOCK + FINAL) * D);
  for (let t = 0; t < T; t++) {
    const at = t * (BLOCK + FINAL) * D;
    rows.set(six.subarray(t * BLOCK * D, (t + 1) * BLOCK * D), at);
    own.forEach((value, i) => {
      rows[at + BLOCK * D + i] = value + embedded[t * D + i % D];
    });
  }
  return rows;
}

/** The numbers [T] that each of the embedders is told. */
function toldOf(config, times, guidanceScale) {
  const timesteps = timestepsOf(times, config);
  if (!config.guidance_embeds) {
    return [{ embedder: 'time_embed.emb.timestep_embedder', values: timesteps }];
  }
  const guidance = f32(f32(guidanceScale) * f32(config.guidance_embeds_scale));
  return [{ embedder: 'time_embed.timestep_embedder', values: timesteps },
    { embedder: 'time_embed.guidance_embedder', values: timesteps.map(() => guidance) }];
}

/** MLP(waves of the values), into `sum` [T, D] or added to it. */
function embed(g, weights, { embedder, values }, add, sum) {
  g.scope(() => {
    const waves = g.upload(timeWaves(values, CHANNELS), [values.length, CHANNELS], 'waves');
    const linear = (x, n, options) => g.linear(x, weights.get(`${embedder}.linear_${n}`),
      { bias: weights.vector(`${embedder}.linear_${n}.bias`), ...options });
    linear(linear(waves, 1, { act: 'silu' }), 2, { into: sum, add });
  });
}

/** The blocks' six vectors [T, 6 D] of the embedded timesteps. */
function modulations(g, weights, embedded) {
  return g.scope(() => g.linear(g.silu(g.clone(embedded)), weights.get('time_embed.linear'),
    { bias: weights.vector('time_embed.linear.bias') }));
}
