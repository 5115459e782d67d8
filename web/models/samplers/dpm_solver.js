/**
 * DPM-Solver++ of the second order on flow sigmas: from noise at sigma 1 to the picture at 0, each
 * step along the velocity, bent by how the picture without its noise changed since the last one.
 * Reference: diffusers' DPMSolverMultistepScheduler with flow sigmas, midpoint.
 */
/** @import { Sampler } from '../families.js' */

const f32 = Math.fround;

/** @implements {Sampler} */
export class DpmSolver {
  #executor;
  #bends;
  /** What the latents were without their noise at this step and the last, by turns: [L, C]. */
  #clean = [];

  /**
   * @param {{ config: { num_train_timesteps: number, flow_shift: number, solver_order: number } }}
   *   sampler the manifest's
   * @param {{ steps: number, executor?: import('../families.js').Executor }} drawing
   */
  constructor({ config }, { steps, executor }) {
    const { num_train_timesteps: train, flow_shift: shift, solver_order: order } = config;
    const sigmas = Array.from({ length: steps }, (_, i) => {
      const even = 1 - (i === 0 ? 1 / train : 1 + (steps - i) * ((1 / train - 1) / steps));
      return shift * even / (1 + (shift - 1) * even);
    });
    this.#executor = executor;
    /** Float32Array [steps + 1], falling to a final 0: how much of the latents is noise. */
    this.sigmas = Float32Array.of(...sigmas, 0);
    /** When the denoiser is asked, whole numbers: [steps]. */
    this.times = sigmas.map((sigma) => Math.trunc(sigma * train));
    this.#bends = sigmas.map((_, i) => (order > 1 ? bend(this.sigmas, i) : 0));
  }

  /** @param {Float32Array} noise @param {number[]} shape @returns {Float32Array} */
  start(noise, shape) {
    const remembered = this.#bends.some((amount) => amount) ? 2 : 0;
    this.#clean = Array.from({ length: remembered },
      () => this.#executor.upload(new Float32Array(noise.length), shape, 'clean latents'));
    return noise;
  }

  /** In place: latents at time i become those at the next. */
  step(i, latents, velocity) {
    const [g, sigma] = [this.#executor, this.sigmas[i]];
    const [now, last] = i % 2 ? this.#clean.toReversed() : this.#clean;
    if (now) {
      g.copy(latents, now);
      g.addScaled(now, velocity, -sigma);
    }
    g.addScaled(latents, velocity, f32(this.sigmas[i + 1] - sigma));
    if (this.#bends[i]) {
      g.addScaled(latents, now, this.#bends[i]);
      g.addScaled(latents, last, -this.#bends[i]);
    }
  }

  /**
   * What the latents would be without their noise, if the velocity stayed as it is.
   * @param {number} i
   * @param {Float32Array} latents at time i
   * @param {Float32Array} velocity
   * @returns {Float64Array}
   */
  clean(i, latents, velocity) {
    return Float64Array.from(latents, (value, at) => value - this.sigmas[i] * velocity[at]);
  }

  /** Lets go of what was remembered. */
  release() {
    this.#clean.forEach((tensor) => this.#executor.release(tensor));
    this.#clean = [];
  }
}

/**
 * How much of the change since the last step is added at step i: half of it, by the way that
 * lambda = log(alpha / sigma) goes now and went then. The first step knows of none; the last, to
 * sigma 0, is of the first order.
 */
function bend(sigmas, i) {
  const [before, sigma, after] = [sigmas[i - 1], sigmas[i], sigmas[i + 1]];
  if (i === 0 || after === 0) return 0;
  const lambda = (value) => Math.log((1 - value) / value);
  const ratio = (lambda(after) - lambda(sigma)) / (lambda(sigma) - lambda(before));
  return 0.5 * (1 - after - after * (1 - sigma) / sigma) * ratio;
}
