/**
 * One component's weights in GPU memory: packed as the manifest has them, apart from base 3, which
 * becomes 2 bits.
 */
import { ModelError } from './errors.js';
import { Tensor } from './memory.js';

/** Bytes that may wait for upload before the queue is run. */
const UPLOAD_BYTES = 32 * 2 ** 20;

/**
 * @typedef {object} Weight
 * @property {string} label the manifest's name
 * @property {number[]} shape
 * @property {number} count
 * @property {string} storage f32 | f16 | bf16 | ternary | binary | affineN
 * @property {number} [group] inputs that share a scale
 * @property {string} [scalesDtype]
 * @property {Tensor} [data] dense values
 * @property {Tensor} [codes]
 * @property {Tensor} [scales]
 * @property {Tensor} [biases]
 */

export class Weights {
  #ops;
  #component;
  #allocations = [];
  #weights = new Map();

  /**
   * @param {import('./ops.js').Ops} ops
   * @param {string} component prefix of the tensor names, e.g. 'transformer'
   */
  constructor(ops, component) {
    this.#ops = ops;
    this.#component = component;
  }

  /**
   * Uploads every tensor of the component but those in `except`.
   * After a failure nothing stays allocated.
   * @param {import('../loader/tensors.js').TensorFiles} files
   * @param {{ except?: string[], signal?: AbortSignal }} options
   */
  async load(files, { except = [], signal } = {}) {
    const names = files.names(this.#component).filter((name) => !except.includes(name));
    let waiting = 0;
    try {
      for (const name of names) {
        waiting += await this.#loadOne(files, name);
        if (waiting > UPLOAD_BYTES) {
          await this.#ops.run({ signal });
          waiting = 0;
        }
      }
      await this.#ops.run({ signal });
    } catch (error) {
      this.#ops.reset();
      this.free();
      throw error;
    }
    return this;
  }

  /**
   * @param {string} name without the component's prefix; '.weight' may be left out
   * @returns {Weight}
   */
  get(name) {
    const full = `${this.#component}.${name}`;
    const weight = this.#weights.get(`${full}.weight`) ?? this.#weights.get(full);
    if (!weight) throw new ModelError(`${full}: not in the manifest`);
    return weight;
  }

  /** A vector (norm weight, bias) as an f32 tensor. */
  vector(name) {
    return this.get(name).data;
  }

  has(name) {
    const full = `${this.#component}.${name}`;
    return this.#weights.has(`${full}.weight`) || this.#weights.has(full);
  }

  free() {
    this.#allocations.forEach((allocation) => this.#ops.allocator.destroy(allocation));
    this.#allocations = [];
    this.#weights.clear();
  }

  /** @returns {Promise<number>} bytes that now wait for upload */
  async #loadOne(files, name) {
    const { storage, shape, group, scales_dtype: scalesDtype } = files.entry(name);
    const count = shape.reduce((product, n) => product * n, 1);
    const weight = { label: name, shape, count, storage, group, scalesDtype };
    this.#weights.set(name, weight);
    const { rehearsal } = this.#ops;
    if (shape.length === 1) {
      const data = rehearsal ? { byteLength: 4 * count } : await files.floats(name);
      weight.data = this.#put(data, `${name} data`);
      return weight.data.bytes;
    }
    let bytes = 0;
    for (const part of files.parts(name)) {
      const data = rehearsal ? { byteLength: 4 * Math.ceil(files.bytes(name, part) / 4) }
        : padToWords(await files.part(name, part));
      bytes += data.byteLength;
      weight[part] = storage === 'ternary' && part === 'codes'
        ? this.#unpackTrits(data, count, `${name} ${part}`)
        : this.#put(data, `${name} ${part}`);
    }
    return bytes;
  }

  #own(words, label) {
    const allocation = this.#ops.allocator.allocate(4 * words, label);
    this.#allocations.push(allocation);
    return new Tensor(allocation, [words], label);
  }

  #put(data, label) {
    const tensor = this.#own(data.byteLength / 4, label);
    this.#ops.write(tensor, data);
    return tensor;
  }

  /** Five trits a byte -> 16 codes a word. */
  #unpackTrits(data, count, label) {
    const codes = this.#own(count / 16, label);
    this.#ops.scope(() => {
      const trits = this.#ops.upload(data, [data.byteLength / 4], `${label} base 3`);
      this.#ops.dispatch('unpack_trits', {
        dims: { words: codes.count }, tensors: [trits, codes], cost: 4 * count,
      });
    });
    return codes;
  }
}

/** Appends zeros up to a multiple of four bytes, as writeBuffer wants them. */
function padToWords(bytes) {
  if (bytes.byteLength % 4 === 0) return bytes;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}
