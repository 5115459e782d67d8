/**
 * Flow matching in Euler's steps, in the float32 arithmetic of diffusers'
 * FlowMatchEulerDiscreteScheduler: from noise at sigma 1 along the velocity to the picture at 0.
 */
import { ModelError } from '../../engine/errors.js';
/** @import { Sampler } from '../families.js' */

const f32 = Math.fround;

/** Settings that would change the sigmas and that no model uses so far. */
const UNUSED = [
  'use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas',
  'invert_sigmas', 'shift_terminal',
];

/**
 * The sigmas before the final 0, by the manifest's name of how they are shifted towards noise: they
 * lie evenly between 1 and 1 / steps before that, or, shifted twice, between the ends of the
 * training schedule, which are shifted already.
 */
const GRIDS = {
  empirical({ steps, tokens }) {
    return shiftedBy(empiricalMu(tokens, steps), steps);
  },
  dynamic({ steps, tokens, config }) {
    return shiftedBy(linearMu(tokens, config), steps);
  },
  static({ steps, config: { shift } }) {
    return evenly(1, 1 / steps, steps).map(f32)
      .map((sigma) => f32(shift * sigma) / f32(1 + f32((shift - 1) * sigma)));
  },
  twice({ steps, config: { shift, num_train_timesteps: train } }) {
    const [first, last] = [1, f32(1 / train)].map((sigma) => (
      train * f32(f32(f32(shift) * sigma) / f32(1 + f32(f32(shift - 1) * sigma)))));
    return evenly(first, last, steps).map((time) => time / train)
      .map((sigma) => shift * sigma / (1 + (shift - 1) * sigma));
  },
};

/** Even sigmas, shifted by exp(mu). @returns {number[]} */
function shiftedBy(mu, steps) {
  const shift = f32(Math.exp(mu));
  return evenly(1, 1 / steps, steps).map(f32)
    .map((sigma) => shift / f32(shift + f32(f32(1 / sigma) - 1)));
}

/** numpy.linspace. @returns {number[]} */
function evenly(first, last, count) {
  return Array.from({ length: count }, (_, i) => (
    i > 0 && i === count - 1 ? last : first + i * ((last - first) / Math.max(count - 1, 1))));
}

/**
 * The shift mu: a line in the number of image tokens, blended between its fits for 10 and 200
 * steps.
 * Source: compute_empirical_mu of diffusers' Flux2KleinPipeline.
 */
function empiricalMu(tokens, steps) {
  const at200 = 0.00016927 * tokens + 0.45666666;
  if (tokens > 4300) return at200;
  const at10 = 8.73809524e-05 * tokens + 1.89833333;
  const slope = (at200 - at10) / 190;
  return slope * steps + at200 - 200 * slope;
}

/**
 * The shift mu: a line from base_shift at base_image_seq_len image tokens to max_shift at
 * max_image_seq_len.
 * Source: calculate_shift of diffusers' FluxPipeline.
 */
function linearMu(tokens, { base_shift: base, max_shift: max, base_image_seq_len: least,
  max_image_seq_len: most }) {
  const slope = (max - base) / (most - least);
  return tokens * slope + (base - slope * least);
}

/** @implements {Sampler} */
export class FlowEuler {
  #executor;

  /**
   * @param {{ shift: string, config: Record<string, any> }} sampler the manifest's; config:
   *   scheduler_config.json
   * @param {{ steps: number, tokens: number,
   *   executor?: import('../families.js').Executor }} drawing tokens of the picture, without
   *   reference images
   * @throws {ModelError} the model asks for what is not computed here
   */
  constructor({ shift, config }, { steps, tokens, executor }) {
    this.#executor = executor;
    const used = UNUSED.filter((key) => config[key]);
    if (used.length) {
      throw new ModelError(`scheduler: ${used.join(', ')} is set; this engine draws without it`);
    }
    if (config.time_shift_type && config.time_shift_type !== 'exponential') {
      throw new ModelError(`scheduler: time_shift_type is ${config.time_shift_type}, `
        + 'expected exponential');
    }
    const grid = GRIDS[shift];
    if (!grid) {
      throw new ModelError(`scheduler: sigmas are shifted by ${JSON.stringify(shift)}, `
        + `expected one of ${Object.keys(GRIDS).join(', ')}. Build the site again.`);
    }
    /** Float32Array [steps + 1], falling to a final 0: how much of the latents is noise. */
    this.sigmas = Float32Array.of(...grid({ steps, tokens, config }), 0);
    const { num_train_timesteps: train } = config;
    /** When the denoiser is asked, from `train` on falling, in float32: [steps]. */
    this.times = Array.from(this.sigmas.subarray(0, steps), (sigma) => f32(train * sigma));
  }

  /** @param {Float32Array} noise @returns {Float32Array} the first latents */
  start(noise) {
    return noise;
  }

  /** In place: latents at time i become those at the next. */
  step(i, latents, velocity) {
    this.#executor.addScaled(latents, velocity, f32(this.sigmas[i + 1] - this.sigmas[i]));
  }

  /**
   * What the latents would be without their noise, if the velocity stayed as it is.
   * @param {number} i
   * @param {Float32Array} latents at time i
   * @param {Float32Array} velocity
   * @returns {Float64Array}
   */
  clean(i, latents, velocity) {
    const sigma = this.sigmas[i];
    return Float64Array.from(latents, (value, at) => value - sigma * velocity[at]);
  }
}
