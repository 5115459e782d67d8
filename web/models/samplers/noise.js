/**
 * torch's CPU normal noise, so that a seed means the same picture as on a desktop.
 *
 * torch.Generator('cpu').manual_seed(seed) is the Mersenne Twister mt19937 (Matsumoto and Nishimura
 * 1998, 32-bit seeding); torch.randn in float32 fills 16 or more values by Box-Muller over blocks
 * of 16 uniforms.
 */
import { InputError } from '../../engine/errors.js';

const N = 624;
const M = 397;
const f32 = Math.fround;

/** @returns {() => number} the next 32-bit word of mt19937 */
function mersenneTwister(seed) {
  const state = new Uint32Array(N);
  state[0] = seed;
  for (let i = 1; i < N; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ state[i - 1] >>> 30) + i;
  }
  let at = N;
  const refill = () => {
    for (let i = 0; i < N; i++) {
      const y = state[i] & 0x80000000 | state[(i + 1) % N] & 0x7fffffff;
      state[i] = state[(i + M) % N] ^ y >>> 1 ^ (y & 1 ? 0x9908b0df : 0);
    }
    at = 0;
  };
  return () => {
    if (at === N) refill();
    let y = state[at++];
    y ^= y >>> 11;
    y ^= y << 7 & 0x9d2c5680;
    y ^= y << 15 & 0xefc60000;
    return (y ^ y >>> 18) >>> 0;
  };
}

/**
 * torch.Generator('cpu').manual_seed(seed), drawn on as often as one likes: what is drawn goes on
 * where the last call ended.
 */
export class TorchNoise {
  #next;

  /** @param {number | bigint} seed 0 .. 2^53 - 1; torch keeps the low 32 bits of it */
  constructor(seed) {
    this.#next = mersenneTwister(Number(BigInt.asUintN(32, BigInt(seed))));
  }

  /**
   * torch.rand(count), bit for bit.
   * @param {number} count
   * @returns {Float32Array}
   */
  uniforms(count) {
    return Float32Array.from({ length: count }, () => (this.#next() & 0xffffff) * 2 ** -24);
  }

  /**
   * torch.randn(count), to 1e-6 (torch's own vectorised log, sine and cosine differ by machine).
   * @param {number} count at least 16
   * @returns {Float32Array}
   */
  normals(count) {
    if (count < 16) {
      throw new InputError(`noise of ${count} values; torch's rule used here needs at least 16`);
    }
    const values = this.uniforms(count);
    const whole = count - count % 16;
    for (let at = 0; at < whole; at += 16) boxMuller(values.subarray(at, at + 16));
    if (whole < count) { // the last 16 are drawn afresh, over the tail of the last whole block
      const tail = values.subarray(count - 16);
      tail.set(this.uniforms(16));
      boxMuller(tail);
    }
    return values;
  }
}

/** 16 uniforms in place: radii from the first 8, angles from the last 8. */
function boxMuller(block) {
  for (let i = 0; i < 8; i++) {
    const radius = f32(Math.sqrt(-2 * f32(Math.log(1 - block[i]))));
    const angle = f32(f32(2 * Math.PI) * block[i + 8]);
    block[i] = radius * Math.cos(angle);
    block[i + 8] = radius * Math.sin(angle);
  }
}

/**
 * The start of a drawing: noise of shape [C / P^2, P * height, P * width], as diffusers draws it, P
 * being the patch, packed into tokens [height * width, C]: channel c * P^2 + P * dy + dx of a token
 * is plane c at row dy and column dx of its patch.
 * @param {TorchNoise} noise
 * @param {{ channels: number, height: number, width: number, patch?: number }} shape height and
 *   width of the grid of tokens
 * @returns {Float32Array}
 */
export function noiseTokens(noise, { channels, height, width, patch = 1 }) {
  const drawn = noise.normals(channels * height * width);
  const tokens = new Float32Array(drawn.length);
  const [rows, columns] = [patch * height, patch * width];
  for (let i = 0; i < drawn.length; i++) {
    const column = i % columns;
    const row = Math.floor(i / columns) % rows;
    const plane = Math.floor(i / (columns * rows));
    const token = Math.floor(row / patch) * width + Math.floor(column / patch);
    const part = patch * (row % patch) + column % patch;
    tokens[token * channels + patch * patch * plane + part] = drawn[i];
  }
  return tokens;
}
