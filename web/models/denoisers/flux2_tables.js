/**
 * What the FLUX.2 denoiser's blocks are modulated by: vectors that depend on the timestep alone.
 * A table that was computed at export where the schedule has one, else projections of the time
 * embedding, for all timesteps at once. D width, T timesteps, L image tokens.
 */
import { tableOf } from '../../loader/requested.js';
import { timeWaves, timestepOf } from './time_embedding.js';

const EMBEDDER = 'time_guidance_embed.timestep_embedder';
const PROJECTIONS = ['double_stream_modulation_img', 'double_stream_modulation_txt',
  'single_stream_modulation', 'norm_out'];

/**
 * @typedef {object} Modulations
 * @property {import('../../engine/memory.js').Tensor[]} tensors to be released by the caller
 * @property {(step: number) => import('../../engine/memory.js').Tensor[]} at image and text [6 D],
 *   single [3 D], final [2 D]
 */

/**
 * @param {import('../families.js').Parts} parts
 * @param {import('../families.js').Conditions} conditions
 * @param {{ signal?: AbortSignal }} hooks
 * @returns {Promise<Modulations>}
 */
export async function modulate(parts, { grid, times }, { signal }) {
  const { schedules } = parts.manifest;
  const table = tableOf(schedules, grid.height * grid.width, times.length);
  if (table) return look(parts, table, schedules.parts);
  return project(parts, times.map(timestepOf), signal);
}

/**
 * @param {import('../families.js').Parts} parts
 * @param {string} table
 * @param {number[]} counts vectors [D] of each part of a row: images', text's, single, final
 */
async function look({ g, files }, table, counts) {
  const { shape: [T, columns] } = files.entry(table);
  const row = counts.reduce((sum, count) => sum + count);
  const rows = g.upload(await files.floats(table), [T * row, columns / row], 'modulations');
  const firsts = counts.map((_, i) => counts.slice(0, i).reduce((sum, count) => sum + count, 0));
  const at = (step) => counts.map((count, i) => rows.rows(row * step + firsts[i], count));
  return { tensors: [rows], at };
}

/** One projection is on the GPU at a time. */
async function project({ g, stages, manifest }, timesteps, signal) {
  const { schedules: { projections }, components: { transformer: { config } } } = manifest;
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

/** silu(MLP(waves)) [T, D]: what all modulations are linear in. */
function timeEmbedding(g, weights, { timestep_guidance_channels: channels }, timesteps) {
  const embedder = (n) => weights.get(`${EMBEDDER}.linear_${n}`);
  return g.scope(() => {
    const times = g.upload(timeWaves(timesteps, channels), [timesteps.length, channels], 'time');
    return g.silu(g.linear(g.silu(g.linear(times, embedder(1))), embedder(2)));
  });
}
