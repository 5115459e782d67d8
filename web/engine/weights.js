/**
 * One component's weights in GPU memory: packed as the manifest has them, apart from base 3, which
 * becomes 2 bits.
 */
import { ModelError } from './errors.js';
import { Tensor } from './memory.js';

/**
 * Bytes that are read and uploaded at a time. A multiple of 1024: a piece of base 3 ends with a
 * word of 16 codes, and every piece of a buffer starts aligned.
 */
const PIECE_BYTES = 8 * 2 ** 20;

/** Bytes that may wait for upload before the queue is run. */
const UPLOAD_BYTES = 32 * 2 ** 20;

/**
 * @typedef {object} Weight
 * @property {string} label the manifest's name
 * @property {number[]} shape
 * @property {number} count
 * @property {string} storage f32 | f16 | bf16 | ternary | binary | affineN
 * @property {import('./candidates.js').Precision} [precision] the least exact operands of kernels
 *   that read it; absent: whatever is allowed
 * @property {number} [group] inputs that share a scale
 * @property {string} [scalesDtype]
 * @property {Tensor} [data] dense values
 * @property {Tensor} [codes]
 * @property {Tensor} [scales]
 * @property {Tensor} [biases]
 */

/**
 * One part of a tensor, or a piece of it: bytes `start` and on of the part's `bytes`. Values of a
 * rehearsal are only a byteLength.
 * @typedef {{ name: string, part: string, start: number, bytes: number,
 *   data: ArrayBufferView | { byteLength: number } }} Piece
 */

export class Weights {
  #ops;
  #files;
  #component;
  #precision;
  #streamed = null; // names of the tensors that come layer by layer, or null
  #allocations = new Map(); // tensor name -> its allocations
  #weights = new Map();

  /**
   * @param {import('./ops.js').Ops} ops
   * @param {import('../loader/tensors.js').TensorFiles} files
   * @param {string} component prefix of the tensor names, e.g. 'transformer'
   * @param {{ computed?: Map<string, any>, precision?: Weight['precision'] }} [options]
   *   computed: what was computed of the same weights before; precision: of every weight
   */
  constructor(ops, files, component, { computed = new Map(), precision } = {}) {
    this.#ops = ops;
    this.#files = files;
    this.#component = component;
    this.#precision = precision;
    /**
     * What follows from the weights alone, by names of the model's own, on the CPU: it stays there
     * when they go.
     */
    this.computed = computed;
  }

  /**
   * Uploads every tensor of the component but those in `except`, those that `gather` reads, and
   * those whose name after the component's begins with one of `streamed`: `layers` brings them.
   * After a failure nothing stays allocated.
   * @param {{ except?: string[], streamed?: string[], resident?: number,
   *   signal?: AbortSignal }} options resident: as many of the streamed tensors as fit so many bytes,
   *   in the manifest's order, are uploaded too, and stay
   */
  async load({ except = [], streamed = [], resident = 0, signal } = {}) {
    const names = this.#files.names(this.#component)
      .filter((name) => !except.includes(name) && this.#files.entry(name).use !== 'rows');
    const prefixes = streamed.map((prefix) => `${this.#component}.${prefix}`);
    const layered = names.filter((name) => prefixes.some((prefix) => name.startsWith(prefix)));
    const later = new Set(this.#beyond(layered, resident));
    this.#streamed = prefixes.length ? [...later] : null;
    try {
      await this.#upload(this.#pieces(names.filter((name) => !later.has(name))), signal);
      await this.#ops.drain({ signal });
    } catch (error) {
      this.#ops.reset();
      this.free();
      throw error;
    }
    return this;
  }

  /** Those of these tensors that do not fit `room` bytes of the GPU. */
  #beyond(names, room) {
    return names.filter((name) => {
      const bytes = this.#bytesOf(name);
      if (bytes > room) return true;
      room -= bytes;
      return false;
    });
  }

  /** What a tensor takes on the GPU. */
  #bytesOf(name) {
    const { use, shape, storage } = this.#files.entry(name);
    const count = shape.reduce((product, n) => product * n, 1);
    if (use === 'vector') return 4 * count;
    return this.#files.parts(name).reduce((sum, part) => sum + (isTrits(storage, part)
      ? count / 4 : this.#files.bytes(name, part)), 0);
  }

  /**
   * Calls `record(index)` for each layer in turn, its weights being on the GPU. What is streamed of
   * a layer is loaded for that and freed afterwards; the next one is read from storage while the
   * GPU works.
   * @param {string[]} names without the component's prefix, e.g. 'layers.3'
   * @param {(index: number) => Promise<void> | void} record
   * @param {{ signal?: AbortSignal, except?: RegExp }} options except: in the names of tensors that
   *   `record` has no use for this time, which need not be there
   */
  async layers(names, record, { signal, except } = {}) {
    if (!this.#streamed) {
      for (const index of names.keys()) await record(index);
      return;
    }
    const groups = names.map((name) => this.#streamed
      .filter((full) => full.startsWith(`${this.#component}.${name}.`) && !except?.test(full)));
    let reading = readAll(this.#pieces(groups[0] ?? []));
    for (const [index, group] of groups.entries()) {
      await this.#upload(await reading, signal);
      await record(index);
      reading = readAll(this.#pieces(groups[index + 1] ?? []));
      await this.#ops.run({ signal });
      group.forEach((name) => this.#free(name));
    }
  }

  /**
   * @param {string} name without the component's prefix; '.weight' may be left out
   * @returns {Weight}
   */
  get(name) {
    const full = `${this.#component}.${name}`;
    const weight = this.#weights.get(`${full}.weight`) ?? this.#weights.get(full);
    if (!weight) throw new ModelError(`${full}: not in the manifest, or its layer is not loaded`);
    return weight;
  }

  /** A vector (norm weight, bias) as an f32 tensor. */
  vector(name) {
    return this.get(name).data;
  }

  /**
   * Rows of a matrix that stays on the CPU, dequantised.
   * @param {string} name in full, but for the component
   * @param {ArrayLike<number>} rows
   * @returns {Promise<Float32Array>} [rows.length, K]
   */
  gather(name, rows) {
    return this.#files.gatherRows(`${this.#component}.${name}`, rows);
  }

  has(name) {
    const full = `${this.#component}.${name}`;
    return this.#weights.has(`${full}.weight`) || this.#weights.has(full);
  }

  free() {
    [...this.#allocations.keys()].forEach((name) => this.#free(name));
  }

  #free(name) {
    this.#allocations.get(name).forEach((one) => this.#ops.allocator.destroy(one));
    this.#allocations.delete(name);
    this.#weights.delete(name);
  }

  /**
   * The tensors' parts, read one after another; vectors as f32, matrices in pieces.
   * @returns {AsyncGenerator<Piece>}
   */
  async* #pieces(names) {
    const { rehearsal } = this.#ops;
    for (const name of names) {
      const { shape, use } = this.#files.entry(name);
      if (use === 'vector') {
        const bytes = 4 * shape.reduce((product, n) => product * n, 1);
        const data = rehearsal ? { byteLength: bytes } : await this.#files.floats(name);
        yield { name, part: 'data', start: 0, bytes, data };
        continue;
      }
      for (const part of this.#files.parts(name)) {
        const bytes = this.#files.bytes(name, part);
        for (let start = 0; start < bytes; start += PIECE_BYTES) {
          const count = Math.min(PIECE_BYTES, bytes - start);
          const data = rehearsal ? { byteLength: toWords(count) }
            : padToWords(await this.#files.part(name, part, start, count));
          yield { name, part, start, bytes, data };
        }
      }
    }
  }

  /** @param {AsyncIterable<Piece> | Iterable<Piece>} pieces */
  async #upload(pieces, signal) {
    let waiting = 0;
    for await (const piece of pieces) {
      this.#put(piece);
      waiting += piece.data.byteLength;
      if (waiting > UPLOAD_BYTES) {
        await this.#ops.run({ signal });
        waiting = 0;
      }
    }
  }

  /** Records a piece's upload to its place, which the first one allocates. */
  #put({ name, part, start, bytes, data }) {
    const weight = this.#weight(name);
    const label = `${name} ${part}`;
    const trits = isTrits(weight.storage, part);
    weight[part] ??= this.#own(name, trits ? weight.count / 16 : toWords(bytes) / 4, label);
    if (trits) {
      this.#unpackTrits(weight[part], start, data, label);
    } else {
      this.#ops.write(weight[part].rows(start / 4, data.byteLength / 4), data);
    }
  }

  #weight(name) {
    if (!this.#weights.has(name)) {
      const { storage, shape, group, scales_dtype: scalesDtype } = this.#files.entry(name);
      const count = shape.reduce((product, n) => product * n, 1);
      this.#weights.set(name, { label: name, shape, count, storage, group, scalesDtype,
        precision: this.#precision });
      this.#allocations.set(name, []);
    }
    return this.#weights.get(name);
  }

  #own(name, words, label) {
    const allocation = this.#ops.allocator.allocateNew(4 * words, label);
    this.#allocations.get(name).push(allocation);
    return new Tensor(allocation, [words], label);
  }

  /** Five trits a byte, from byte `start` on of the tensor's -> 16 codes a word. */
  #unpackTrits(codes, start, data, label) {
    const first = 5 * start / 16;
    const words = Math.min(codes.count - first, Math.ceil(5 * data.byteLength / 16));
    this.#ops.scope(() => {
      const trits = this.#ops.upload(data, [data.byteLength / 4], `${label} base 3`);
      this.#ops.dispatch('unpack_trits', {
        dims: { words }, tensors: [trits, codes.rows(first, words)], cost: 64 * words,
      });
    });
  }
}

/** Whether a part is codes in base 3, which become 2 bits each on the GPU. */
function isTrits(storage, part) {
  return storage === 'ternary' && part === 'codes';
}

/** @returns {Promise<Piece[]>} a failure waits until somebody asks */
function readAll(pieces) {
  const all = collect(pieces);
  all.catch(() => {});
  return all;
}

/** Array.fromAsync, which is younger than the oldest browser that draws. */
async function collect(pieces) {
  const list = [];
  for await (const piece of pieces) list.push(piece);
  return list;
}

/** Bytes up to the next multiple of four. */
function toWords(bytes) {
  return 4 * Math.ceil(bytes / 4);
}

/** Appends zeros up to a multiple of four bytes, as writeBuffer wants them. */
function padToWords(bytes) {
  if (bytes.byteLength % 4 === 0) return bytes;
  const padded = new Uint8Array(toWords(bytes.byteLength));
  padded.set(bytes);
  return padded;
}
