/** The manifest's tensors as bytes and floats on the CPU. */
import { ModelError } from '../engine/errors.js';

const PARTS = ['data', 'codes', 'scales', 'biases'];

/**
 * From a denoiser's latents to an autoencoder's: z = latent * scale + shift, by channel, [C] each.
 * @typedef {{ scale: Float32Array, shift: Float32Array }} LatentNorm
 */

export class TensorFiles {
  #tensors;
  #latents;
  #norm;
  #store;

  /**
   * @param {import('./manifest.js').Manifest} manifest
   * @param {Pick<import('./shards.js').ShardStore, 'read'> &
   *   Partial<import('./shards.js').ShardStore>} store in a rehearsal it only reads
   */
  constructor(manifest, store) {
    this.#tensors = manifest.tensors;
    this.#latents = manifest.latents;
    this.#store = store;
  }

  /** Names of a component's tensors, in the manifest's order. */
  names(component) {
    return Object.keys(this.#tensors).filter((name) => name.startsWith(`${component}.`));
  }

  entry(name) {
    const tensor = this.#tensors[name];
    if (!tensor) throw new ModelError(`${name}: not in the manifest`);
    return tensor;
  }

  /** Which of data, codes, scales and biases the tensor has. */
  parts(name) {
    const tensor = this.entry(name);
    return PARTS.filter((part) => part in tensor);
  }

  /**
   * The shards of every picture, and those that hold these tensors, as far as they are not here, or
   * not any more: [{ index, bytes }].
   */
  async missing(names) {
    await this.#store.survey();
    return this.#store.missing(this.#shardsOf(names));
  }

  /** Has the same shards here; hooks as ShardStore.ensure takes them. */
  ensure(names, hooks) {
    return this.#store.ensure(this.#shardsOf(names), hooks);
  }

  #shardsOf(names) {
    const extents = names.flatMap((name) => this.parts(name)
      .flatMap((part) => this.entry(name)[part]));
    return [...new Set([...this.#store.first, ...extents.map(([shard]) => shard)])];
  }

  /** Bytes of a part, without reading it. */
  bytes(name, part) {
    return this.entry(name)[part].reduce((sum, [, , bytes]) => sum + bytes, 0);
  }

  /** Bytes `start` .. `start + count` of a part (default: all of it), gathered over its extents. */
  async part(name, part, start = 0, count = Infinity) {
    const pieces = [];
    let at = 0; // where the extent begins within the part
    for (const [shard, offset, bytes] of this.entry(name)[part]) {
      const from = Math.max(start, at);
      const to = Math.min(start + count, at + bytes);
      if (from < to) pieces.push(await this.#store.read(shard, offset + from - at, to - from));
      at += bytes;
    }
    return pieces.length === 1 ? pieces[0] : concat(pieces);
  }

  /** A dense tensor's values. @returns {Promise<Float32Array>} */
  async floats(name) {
    return toFloats(await this.part(name, 'data'), this.entry(name).storage);
  }

  /**
   * What the manifest says of latents; `statistics` are tensors with their mean and variance. Read
   * once: a drawing needs no file for it that was deleted meanwhile.
   * @returns {Promise<LatentNorm>}
   */
  async latentNorm() {
    this.#norm ??= await this.#readLatentNorm();
    return this.#norm;
  }

  async #readLatentNorm() {
    const { channels, statistics, eps, scale = 1, shift = 0 } = this.#latents;
    if (!statistics) {
      return { scale: new Float32Array(channels).fill(scale),
        shift: new Float32Array(channels).fill(shift) };
    }
    const [mean, variance] = await Promise.all(statistics.map((name) => this.floats(name)));
    return { scale: variance.map((v) => Math.sqrt(v + eps)), shift: mean };
  }

  /**
   * Rows of a matrix [N, K], dequantised: the embedding lookup.
   * @param {ArrayLike<number>} rows
   * @returns {Promise<Float32Array>} [rows.length, K]
   */
  async gatherRows(name, rows) {
    const { storage, shape: [N, K] } = this.entry(name);
    const out = new Float32Array(rows.length * K);
    const known = new Map();
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i];
      if (!(row >= 0 && row < N)) {
        throw new ModelError(`${name}: row ${row} asked for, there are ${N}`);
      }
      if (!known.has(row)) {
        const affine = storage.startsWith('affine');
        known.set(row, await (affine ? this.#affineRow(name, row) : this.#denseRow(name, row)));
      }
      out.set(known.get(row), i * K);
    }
    return out;
  }

  async #denseRow(name, row) {
    const { storage, shape: [, K] } = this.entry(name);
    const rowBytes = K * (storage === 'f32' ? 4 : 2);
    return toFloats(await this.part(name, 'data', row * rowBytes, rowBytes), storage);
  }

  /**
   * scale * code + bias; codes lie lowest bits first in little-endian words, so byte by byte too.
   */
  async #affineRow(name, row) {
    const { storage, shape: [, K], group, scales_dtype: dtype } = this.entry(name);
    const bits = Number(storage.slice('affine'.length));
    const codes = await this.part(name, 'codes', row * K * bits / 8, K * bits / 8);
    const groupBytes = K / group * (dtype === 'f32' ? 4 : 2);
    const scales = toFloats(await this.part(name, 'scales', row * groupBytes, groupBytes), dtype);
    const biases = toFloats(await this.part(name, 'biases', row * groupBytes, groupBytes), dtype);
    return Float32Array.from({ length: K }, (_, k) => {
      const code = codes[k * bits >> 3] >> (k * bits & 7) & (1 << bits) - 1;
      const g = Math.floor(k / group);
      return scales[g] * code + biases[g];
    });
  }
}

/** Little-endian bf16, f16 or f32 bytes -> floats. */
export function toFloats(bytes, dtype) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === 'f32') {
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }
  const halves = Float32Array.from({ length: bytes.length / 2 });
  if (dtype === 'bf16') {
    const words = new Uint32Array(halves.buffer);
    for (let i = 0; i < words.length; i++) words[i] = view.getUint16(2 * i, true) << 16;
  } else {
    for (let i = 0; i < halves.length; i++) halves[i] = fromHalf(view.getUint16(2 * i, true));
  }
  return halves;
}

function fromHalf(half) {
  const exponent = half >> 10 & 31;
  const fraction = half & 1023;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

function concat(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
