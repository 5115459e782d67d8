/**
 * The loop that draws, once, whatever the family and whatever computes it.
 *
 * Letters: L image tokens, C channels of a token. Types: families.js.
 */
import { stopwatch } from './stopwatch.js';
import { previewOf } from './preview.js';
import { TorchNoise, noiseTokens } from './samplers/noise.js';

/**
 * Draws one picture.
 * @param {import('./families.js').Executor} executor
 * @param {import('./families.js').Family} family
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {import('./families.js').Drawing} drawing
 * @param {import('./families.js').Hooks} hooks
 * @returns {Promise<{ rgba: Uint8ClampedArray, timings: object, stageBytes: object }>} stageBytes:
 *   the most GPU memory in each stage
 */
export async function draw(executor, family, manifest, drawing, hooks) {
  const { texts, images = [], steps, width, height, seed, guidanceScale } = drawing;
  const { latents: { channels: C, pixels, patch }, preview } = manifest;
  const grid = { height: height / pixels, width: width / pixels };
  const shape = [grid.height * grid.width, C];                                  // [L, C]
  const [clock, stepMs, stageBytes] = [stopwatch(), [], {}];
  const begin = (stage, step = 0) => hooks.onProgress({ stage, step, steps });
  const end = (stage) => { stageBytes[stage] = executor.takeStagePeak(); return clock(); };

  // 1 texts, the prompt and maybe a negative one -> what the encoders make of each
  begin('encode');
  const contexts = await executor.encode(texts, hooks);
  await observeTexts(hooks.observe, texts, contexts);
  const encodeMs = end('encode');

  // 2 reference images -> a grid of tokens each
  if (images.length) begin('reference');
  const references = images.length ? await executor.references(images, hooks) : [];
  const referenceMs = end('reference');

  // 3 noise -> latents [L, C]
  const generator = new TorchNoise(seed);
  const noise = () => (executor.rehearsal ? new Float32Array(shape[0] * C)
    : noiseTokens(generator, { channels: C, patch, ...grid }));
  const sampler = new family.samplers[manifest.sampler.class](manifest.sampler,
    { steps, tokens: shape[0], executor, noise });
  const drawn = noise();
  await hooks.observe('noise', shape, drawn);
  const latents = executor.upload(sampler.start(drawn, shape), shape, 'latents');
  await hooks.observe('sigmas', [steps + 1], sampler.sigmas);

  // 4 a velocity at each of the sampler's times -> latents with less noise
  const conditions = { contexts, grid, references, times: sampler.times, guidanceScale };
  await executor.denoise(conditions, hooks, async (velocityOf) => {
    for (let step = 0; step < (executor.rehearsal ? 1 : steps); step++) {
      begin('denoise', step);
      const velocity = await guided(executor, conditions,
        (text) => velocityOf(latents, step, text),
        (half, result) => hooks.observe(`velocity.${step}.${half}`, shape, result));
      await hooks.observe(`velocity.${step}`, shape, velocity);
      const clean = hooks.onPreview && preview && sampler.clean(step,
        await executor.read('latents', latents, hooks),
        await executor.read('velocities', velocity, hooks));
      sampler.step(step, latents, velocity);
      await executor.settle(velocity, hooks);
      if (clean) {
        const shown = previewOf(clean, grid, await executor.latentNorm(), preview);
        hooks.onPreview({ step, steps, ...shown });
      }
      stepMs.push(clock());
    }
  });
  sampler.release?.();
  await executor.read('latents', latents, hooks); // whoever shows no previews hears of NaN now
  await hooks.observe('latents', shape, latents);
  end('denoise');

  // 5 latents -> pixels
  begin('decode', steps);
  const rgba = await executor.decode(latents, { width, height, grid }, hooks);
  const decodeMs = end('decode');
  return { rgba, stageBytes, timings: { encodeMs, referenceMs, stepMs, decodeMs } };
}

/**
 * The velocity of the prompt, or, with a second text, as far from that one's as guidance asks:
 * v = negative + scale * (prompt - negative).
 */
async function guided(executor, { contexts, guidanceScale: scale }, velocityOf, observe) {
  const velocity = await velocityOf(0);
  if (contexts.length === 1) return velocity;
  await observe('prompt', velocity);
  const negative = await velocityOf(1);
  await observe('negative', negative);
  executor.addScaled(velocity, negative, -1);
  executor.addScaled(negative, velocity, scale);
  executor.release(velocity);
  return negative;
}

/** Results by their names; those of a second text or encoder are told apart. */
async function observeTexts(observe, texts, contexts) {
  for (const [t, context] of contexts.entries()) {
    for (const [n, { rows, shape }] of context.entries()) {
      const { ids } = texts[t][n];
      const named = (name) => `${t ? 'negative.' : ''}${name}${n ? `.${n}` : ''}`;
      await observe(named('token_ids'), [ids.length], ids);
      await observe(named('encoder_rows'), shape, rows);
    }
  }
}
