/**
 * FLUX.2 Klein from prompt to pixels.
 * Reference: diffusers' Flux2KleinPipeline in float32, without guidance.
 */
import { expectFinite } from '../engine/sound.js';
import { Flux2, LAYERS as BLOCKS } from './denoisers/flux2.js';
import { decode } from './autoencoders/kl.js';
import { modulate, modulationTensors } from './denoisers/flux2_tables.js';
import { noiseTokens } from './samplers/noise.js';
import { previewOf } from './preview.js';
import { encodeText, LAYERS } from './text_encoders/qwen3.js';
import { encodeReferences, imageTensors } from './denoisers/flux2_references.js';
import { schedule, timestepOf } from './samplers/flow_euler.js';
import { stopwatch } from '../api/stopwatch.js';

/** Its rows are looked up on the CPU. */
const EMBEDDINGS = 'text_encoder.embed_tokens.weight';

/** Tensors that no stage loads: what is read by the row, and what one pass uses up. */
export function apartTensors(manifest) {
  const { folding } = manifest.components.transformer;
  return [EMBEDDINGS, ...folding.projections, ...folding.tables, ...imageTensors(manifest)];
}

/** Tensors that this picture needs and others may not: they may not have been fetched. */
export function requestTensors(manifest, request) {
  const { folding } = manifest.components.transformer;
  const { steps, images = [] } = request;
  return [...modulationTensors(folding, imageTokens(manifest, request), steps),
    ...(images.length ? imageTensors(manifest) : [])];
}

/**
 * Draws one picture.
 * @param {object} parts
 * @param {import('../engine/ops.js').Ops} parts.g
 * @param {import('../engine/stages.js').Stages} parts.stages
 * @param {import('../loader/tensors.js').TensorFiles} parts.files
 * @param {object} parts.manifest
 * @param {{ ids: Int32Array, count: number }} tokens ids [S], padding from `count` on
 * @param {{ seed: number, width: number, height: number, steps: number,
 *   images?: import('../api/reference_image.js').Image[] }} request pixels; checked by the caller
 * @param {{ signal?: AbortSignal, onProgress: Function, observe: Function, onPreview?: Function }}
 *   hooks `observe(name, shape, tensorOrArray)` sees every stage's result
 * @returns {Promise<{ rgba: Uint8ClampedArray, timings: object, stageBytes: object }>} stageBytes:
 *   the most GPU memory in each stage
 */
export async function draw({ g, stages, files, manifest }, tokens, request, hooks) {
  const { signal, onProgress, observe, onPreview } = hooks;
  const { components, patch, preview, pipeline: { text_encoder_out_layers: taps } } = manifest;
  const [textEncoder, transformer, autoencoder] = ['text_encoder', 'transformer', 'autoencoder']
    .map((name) => components[name].config);
  const grid = { height: request.height / patch, width: request.width / patch };
  const [L, C] = [imageTokens(manifest, request), transformer.in_channels];
  const { steps, images = [] } = request;
  const clock = stopwatch();
  const stageBytes = {};

  // 1 prompt -> encoder rows, a [S, Dt] per tap
  onProgress({ stage: 'encode', step: 0, steps });
  await observe('token_ids', [tokens.ids.length], tokens.ids);
  const rows = await stages.use('text_encoder', { signal, layers: LAYERS }, async (weights) => {
    const embeddings = await files.gatherRows(EMBEDDINGS, tokens.ids);            // [S, Dt]
    return encodeText(g, weights, textEncoder, { embeddings, valid: tokens.count, taps, signal });
  });
  await observe('encoder_rows', [rows[0].shape[0], taps.length * rows[0].width], rows);
  const encodeMs = clock();
  stageBytes.encode = g.allocator.takeStagePeak();

  // 2 reference images -> tokens [height * width, C] each
  if (images.length) onProgress({ stage: 'reference', step: 0, steps });
  const statistics = await latentStatistics(files);
  const references = await encodeReferences({ g, stages, manifest }, images, statistics, hooks);
  const referenceMs = clock();
  stageBytes.reference = g.allocator.takeStagePeak();

  // 3 noise -> latents [L, C]
  const noise = g.rehearsal ? new Float32Array(L * C)
    : noiseTokens(request.seed, { channels: C, ...grid });
  const latents = g.upload(noise, [L, C], 'latents');
  await observe('noise', [L, C], noise);

  // 4 denoise
  const sigmas = schedule(steps, L, manifest.scheduler);                        // [steps + 1]
  await observe('sigmas', [steps + 1], sigmas);
  const { folding } = components.transformer;
  const times = Array.from(sigmas.subarray(0, steps), timestepOf);
  const modulations = await modulate({ g, stages, files }, transformer, folding, L, times, signal);
  const stepMs = [];
  const read = async (name, tensor) => expectFinite(name,
    new Float32Array(await g.read(tensor, { signal })));
  const streaming = { signal, layers: BLOCKS, repeated: true };
  await stages.use('transformer', streaming, async (weights) => {
    const denoiser = new Flux2(g, weights, transformer);
    const state = denoiser.prepare(rows, grid, references);
    g.release(...rows);
    await g.drain({ signal }); // every step finds the same, an empty pool
    for (let step = 0; step < (g.rehearsal ? 1 : steps); step++) {
      onProgress({ stage: 'denoise', step, steps });
      const velocity = await denoiser.velocity(latents, modulations.at(step), state, {
        signal, observe: (name, ...result) => observe(`block.${name}.${step}`, ...result),
      });
      await observe(`velocity.${step}`, [L, C], velocity);
      g.addScaled(latents, velocity, Math.fround(sigmas[step + 1] - sigmas[step]));
      if (onPreview && preview) {
        const drawn = { latents: await read('latents', latents),
          velocity: await read('velocities', velocity),
          sigma: sigmas[step + 1] };
        const norm = { ...statistics, eps: autoencoder.batch_norm_eps };
        onPreview({ step, steps, ...previewOf(drawn, grid, norm, preview) });
      }
      g.release(velocity);
      await g.drain({ signal });
      stepMs.push(clock());
    }
    g.release(state.text, state.x, state.angles, ...state.references, ...modulations.tensors);
  });
  await read('latents', latents); // whoever shows no previews hears of it before the decoder
  await observe('latents', [L, C], latents);
  stageBytes.denoise = g.allocator.takeStagePeak();

  // 5 decode
  onProgress({ stage: 'decode', step: steps, steps });
  await g.drain({ signal });
  const rgba = await stages.use('autoencoder', { signal }, async (weights) => {
    const picture = await decode(g, weights, autoencoder, latents,
      { ...grid, ...statistics, signal });
    await observe('decoded', [request.height, request.width, 3], picture);
    return g.read(g.toRgba(picture), { signal });
  });
  stageBytes.decode = g.allocator.takeStagePeak();
  return { rgba: new Uint8ClampedArray(rgba), stageBytes,
    timings: { encodeMs, referenceMs, stepMs, decodeMs: clock() } };
}

/** The running statistics of the autoencoder's batch norm, [C] each. */
async function latentStatistics(files) {
  const [mean, variance] = await Promise.all(['mean', 'var']
    .map((name) => files.floats(`autoencoder.bn.running_${name}`)));
  return { mean, variance };
}

function imageTokens({ patch }, { width, height }) {
  return width / patch * (height / patch);
}
