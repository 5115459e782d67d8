/**
 * Flow matching with FLUX.2's empirical shift, in the float32 steps of diffusers'
 * FlowMatchEulerDiscreteScheduler.
 */
import { ModelError } from '../../engine/errors.js';

const f32 = Math.fround;

/** Settings that would change the sigmas and that no model of this family uses. */
const UNUSED = [
  'use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas',
  'invert_sigmas', 'shift_terminal',
];

/**
 * The shift mu: a line in the number of image tokens, blended between its fits for 10 and 200
 * steps.
 * Source: compute_empirical_mu of diffusers' Flux2KleinPipeline.
 */
export function empiricalMu(tokens, steps) {
  const at200 = 0.00016927 * tokens + 0.45666666;
  if (tokens > 4300) return at200;
  const at10 = 8.73809524e-05 * tokens + 1.89833333;
  const slope = (at200 - at10) / 190;
  return slope * steps + at200 - 200 * slope;
}

/**
 * @param {number} steps
 * @param {number} tokens image tokens, without reference images
 * @param {object} config scheduler_config.json
 * @returns {Float32Array} sigmas [steps + 1], falling to a final 0
 */
export function schedule(steps, tokens, config) {
  const used = UNUSED.filter((key) => config[key]);
  if (used.length) {
    throw new ModelError(`scheduler: ${used.join(', ')} is set; this engine draws without it`);
  }
  if (config.time_shift_type && config.time_shift_type !== 'exponential') {
    throw new ModelError(`scheduler: time_shift_type is ${config.time_shift_type}, `
      + 'expected exponential');
  }
  const sigmas = new Float32Array(steps + 1);
  const shift = f32(Math.exp(empiricalMu(tokens, steps)));
  for (let i = 0; i < steps; i++) {
    const sigma = f32(1 + i * ((1 / steps - 1) / Math.max(steps - 1, 1)));
    sigmas[i] = config.use_dynamic_shifting === false
      ? f32(config.shift * sigma) / f32(1 + f32((config.shift - 1) * sigma))
      : shift / f32(shift + f32(f32(1 / sigma) - 1));
  }
  return sigmas;
}

/** What diffusers hands to its denoiser for a sigma: 1000 sigma / 1000, in float32. */
export function handedOver(sigma) {
  return f32(f32(1000 * sigma) / 1000);
}

/** The time that the denoiser makes of it. */
export function timestepOf(sigma) {
  return f32(handedOver(sigma) * 1000);
}
