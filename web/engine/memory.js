/** Tensors and the one allocator that every GPU buffer of the engine comes from. */
import { ShapeError } from './errors.js';

/** WebGPU's minStorageBufferOffsetAlignment: a view must start at a multiple of it. */
export const ALIGNMENT = 256;

const STORAGE = 0x80 | 0x08 | 0x04; // GPUBufferUsage.STORAGE | COPY_DST | COPY_SRC

/** A shaped view of a buffer; 4-byte elements (f32 or u32). Views share their allocation. */
export class Tensor {
  /**
   * @param {Allocation} allocation
   * @param {number[]} shape
   * @param {string} label used in error messages
   * @param {number} [offset] bytes from the start of the allocation
   */
  constructor(allocation, shape, label, offset = 0) {
    this.allocation = allocation;
    this.shape = shape;
    this.label = label;
    this.offset = offset;
  }

  get count() {
    return this.shape.reduce((product, n) => product * n, 1);
  }

  get bytes() {
    return 4 * this.count;
  }

  /** The last dimension, e.g. the width of a row. */
  get width() {
    return this.shape[this.shape.length - 1];
  }

  /** The same elements under another shape. */
  reshape(...shape) {
    const view = new Tensor(this.allocation, shape, this.label, this.offset);
    if (view.count !== this.count) {
      throw new ShapeError(`${this.label}: [${this.shape}] cannot be seen as [${shape}]`);
    }
    return view;
  }

  /** Rows first .. first + count - 1 of dimension 0, in place. */
  rows(first, count) {
    const rowBytes = this.bytes / this.shape[0];
    const offset = this.offset + first * rowBytes;
    if (first + count > this.shape[0] || offset % ALIGNMENT) {
      throw new ShapeError(`${this.label}: rows ${first}..${first + count} of [${this.shape}] `
        + `start at byte ${offset}; `
        + `a view must lie inside and start at a multiple of ${ALIGNMENT}`);
    }
    return new Tensor(this.allocation, [count, ...this.shape.slice(1)], this.label, offset);
  }
}

/**
 * Throws a ShapeError unless `tensor` has exactly this shape.
 * @param {string} op
 * @param {{ shape: number[], label?: string }} tensor
 * @param {number[]} want
 */
export function expectShape(op, tensor, want) {
  const same = tensor.shape.length === want.length && want.every((n, i) => n === tensor.shape[i]);
  if (!same) {
    throw new ShapeError(`${op}: ${tensor.label} is [${tensor.shape}], expected [${want}]`);
  }
}

/**
 * @typedef {{ gpu: GPUBuffer | null, bytes: number, free: boolean }} Allocation
 */

/**
 * Hands out buffers, takes them back for reuse, and counts. Freed buffers wait in a pool: commands
 * run in the order in which they were recorded, so a buffer may be handed out again as soon as it
 * is released.
 */
export class Allocator {
  #device;
  #pool = [];
  /** Bytes of all buffers that exist now, pooled ones included. */
  liveBytes = 0;
  /** The most that liveBytes was since the last `resetPeak`. */
  peakBytes = 0;
  #stagePeakBytes = 0;

  /**
   * @param {GPUDevice | null} device null: count only, create nothing
   * @param {number} limit the device's maxStorageBufferBindingSize
   */
  constructor(device, limit) {
    this.#device = device;
    this.limit = limit;
  }

  resetPeak() {
    this.peakBytes = this.liveBytes;
    this.#stagePeakBytes = this.liveBytes;
  }

  /** The most that liveBytes was since the last call, or the last `resetPeak`. */
  takeStagePeak() {
    const bytes = this.#stagePeakBytes;
    this.#stagePeakBytes = this.liveBytes;
    return bytes;
  }

  /**
   * A storage buffer of at least `bytes`, one from the pool if it fits.
   * @returns {Allocation}
   */
  allocate(bytes, label) {
    return this.#takePooled(aligned(bytes)) ?? this.allocateNew(bytes, label);
  }

  /**
   * A storage buffer that was not in the pool: for what stays long and goes by `destroy`.
   * @returns {Allocation}
   */
  allocateNew(bytes, label) {
    const wanted = aligned(bytes);
    if (wanted > this.limit) {
      throw new ShapeError(`${label} needs a buffer of ${wanted} bytes; `
        + `this device binds at most ${this.limit}`);
    }
    return this.create(wanted, STORAGE, label);
  }

  /** A buffer of any usage, never pooled; give it back with `destroy`. */
  create(bytes, usage, label) {
    const gpu = this.#device?.createBuffer({ label, size: bytes, usage }) ?? null;
    this.liveBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes);
    this.#stagePeakBytes = Math.max(this.#stagePeakBytes, this.liveBytes);
    return { gpu, bytes, free: false };
  }

  /** Back to the pool. */
  release(allocation) {
    if (allocation.free) throw new ShapeError('a buffer was released twice');
    allocation.free = true;
    this.#pool.push(allocation);
  }

  destroy(allocation) {
    allocation.gpu?.destroy();
    this.liveBytes -= allocation.bytes;
  }

  /** Destroys what waits in the pool. Recorded commands must have been submitted. */
  trim() {
    this.#pool.forEach((allocation) => this.destroy(allocation));
    this.#pool = [];
  }

  /** The smallest pooled buffer that fits, unless it wastes more than a quarter. */
  #takePooled(wanted) {
    let best = -1;
    this.#pool.forEach(({ bytes }, i) => {
      const fits = bytes >= wanted && bytes <= 1.25 * wanted;
      if (fits && !(bytes >= this.#pool[best]?.bytes)) best = i;
    });
    if (best < 0) return null;
    const [allocation] = this.#pool.splice(best, 1);
    allocation.free = false;
    return allocation;
  }
}

function aligned(bytes) {
  return Math.ceil(Math.max(bytes, 4) / ALIGNMENT) * ALIGNMENT;
}
