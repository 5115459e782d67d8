/** What timesteps are told to a denoiser as. */

const f32 = Math.fround;

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
