/**
 * The sampler of Sana-Sprint, a continuous-time consistency model, in few steps: each predicts the
 * picture and puts fresh noise on it, less every time. Reference: diffusers' SCMScheduler, and
 * SanaSprintPipeline, which turns its circle into the straight line that the denoiser knows.
 *
 * At the angle s, z = cos(s) x0 + sin(s) d N, where d is sigma_data. The denoiser is told
 * t = sin s / (sin s + cos s) and given x = z r / d with r = |(t, 1 - t)|; latents are that x here.
 */
/** @import { Sampler } from '../families.js' */

const f32 = Math.fround;

/** The one number of steps that takes an intermediate angle. */
const BETWEEN_STEPS = 2;

/** @implements {Sampler} */
export class Scm {
  #executor;
  #noise;
  #shape;
  /** Of each step, what of its latents and of its velocity x0 / d is made of. */
  #predictions;

  /**
   * @param {{ config: { max_timesteps: number, intermediate_timesteps: number | null } }} sampler
   *   the manifest's
   * @param {{ steps: number, executor?: import('../families.js').Executor,
   *   noise?: () => Float32Array }} drawing
   */
  constructor({ config }, { steps, executor, noise }) {
    this.#executor = executor;
    this.#noise = noise;
    /** The angles, which stand for sigmas: Float32Array [steps + 1], falling to a final 0. */
    this.sigmas = anglesOf(steps, config);
    /** When the denoiser is asked, from 1 on falling, in float32: [steps]. */
    this.times = Array.from(this.sigmas.subarray(0, steps), (angle) => {
      const [sine, cosine] = [f32(Math.sin(angle)), f32(Math.cos(angle))];
      return f32(sine / f32(cosine + sine));
    });
    this.#predictions = this.times.map((time, i) => {
      const [sine, cosine] = [Math.sin(this.sigmas[i]), Math.cos(this.sigmas[i])];
      const length = Math.hypot(time, 1 - time);
      return { latents: (cosine - sine * (1 - 2 * time)) / length, velocity: -sine * length };
    });
  }

  /** @param {Float32Array} noise @param {number[]} shape @returns {Float32Array} */
  start(noise, shape) {
    this.#shape = shape;
    const length = Math.hypot(this.times[0], 1 - this.times[0]);
    return noise.map((value) => value * length);
  }

  /**
   * In place: latents at time i become those at the next, with fresh noise; after the last step,
   * where that counts nothing, they are x0 / d.
   */
  step(i, latents, velocity) {
    const g = this.#executor;
    const [angle, time] = [this.sigmas[i + 1], this.times[i + 1] ?? 0];
    const length = Math.hypot(time, 1 - time);
    const amount = Math.sin(angle) * length;
    const fresh = this.#noise().map((value) => value * amount);
    const next = g.upload(fresh, this.#shape, 'fresh noise');
    const kept = Math.cos(angle) * length;
    g.addScaled(next, latents, kept * this.#predictions[i].latents);
    g.addScaled(next, velocity, kept * this.#predictions[i].velocity);
    g.copy(next, latents);
    g.release(next);
  }

  /**
   * The picture that step i predicts.
   * @param {number} i
   * @param {Float32Array} latents at time i
   * @param {Float32Array} velocity
   * @returns {Float64Array}
   */
  clean(i, latents, velocity) {
    const { latents: a, velocity: b } = this.#predictions[i];
    return Float64Array.from(latents, (value, at) => a * value + b * velocity[at]);
  }
}

/**
 * Evenly from the first to 0, counted from both ends as torch.linspace does; two steps may have one
 * between.
 */
function anglesOf(steps, { max_timesteps: most, intermediate_timesteps: between }) {
  if (steps === BETWEEN_STEPS && between !== null) return Float32Array.of(most, between, 0);
  const [first, step] = [f32(most), f32(-f32(most) / steps)];
  return Float32Array.from({ length: steps + 1 }, (_, i) => (
    i < Math.floor((steps + 1) / 2) ? first + f32(step * i) : -f32(step * (steps - i))));
}
