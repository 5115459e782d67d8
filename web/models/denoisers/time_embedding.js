/** What timesteps are told to a denoiser as. */

const f32 = Math.fround;

/**
 * What FLUX makes of a sampler's time: diffusers divides it by 1000 before it hands it over, and
 * the denoiser multiplies it again, both in float32.
 */
export function timestepOf(time) {
  return f32(f32(time / 1000) * 1000);
}

/**
 * [cos, sin] of timestep * 10000^(-i / half), [T, channels]. Angles reach 1000 radians, where a
 * rounding is visible, so they are rounded to float32 where diffusers rounds them.
 * @param {number[]} timesteps [T]
 * @param {number} channels
 */
export function timeWaves(timesteps, channels) {
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
  return waves;
}
