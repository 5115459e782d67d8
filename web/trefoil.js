/**
 * Trefoil: pictures from prompts on the visitor's own GPU. Runs wherever navigator.gpu is.
 *
 *     const pipe = await loadPipeline('./model/manifest.json');
 *     const { rgba, width, height } = await pipe.generate({
 *       prompt: 'a red maple in a blue pot', seed: 7,
 *     });
 */
import { inspectDevice, openDevice, watchDevice } from './engine/device.js';
import { InputError, ModelError, ShapeError, throwIfAborted } from './engine/errors.js';
import { Kernels } from './engine/kernels.js';
import { Allocator } from './engine/memory.js';
import { Ops } from './engine/ops.js';
import { KERNELS, selfCheck } from './engine/selfcheck.js';
import { Stages } from './engine/stages.js';
import { fetchManifest } from './loader/manifest.js';
import { openShards } from './loader/shards.js';
import { TensorFiles } from './loader/tensors.js';
import * as flux2 from './models/flux2_pipeline.js';
import { PromptTokenizer } from './models/tokenizer.js';

export { inspectDevice };
export * from './engine/errors.js';

const FAMILIES = { flux2 };
const PRECISIONS = ['f32'];
const MAX_STEPS = 50;

/** Shards for a rehearsal: nothing is downloaded yet, and no value matters. */
const ZEROS = { read: async (shard, offset, bytes) => new Uint8Array(bytes) };

/** Stages' weights stay in GPU memory between pictures when all together need no more than this. */
const MEMORY_BUDGET = 2 ** 30;

/**
 * Checks the device, then downloads the model.
 * @param {string | URL} manifestUrl
 * @param {object} [options]
 * @param {AbortSignal} [options.signal]
 * @param {(progress: { phase: 'check' | 'download', loadedBytes: number, totalBytes: number,
 *   file?: string }) => void} [options.onProgress]
 * @param {'f32'} [options.precision]
 * @param {'auto' | 'opfs' | 'memory'} [options.storage] where the files are kept; auto: OPFS, else
 *   memory
 * @param {number} [options.memoryBudget] bytes of weights that may stay on the GPU between pictures
 * @returns {Promise<Pipeline>}
 * @throws {UnsupportedError | DownloadError | ModelError | DOMException} the last one named
 *   AbortError
 */
export async function loadPipeline(manifestUrl, options = {}) {
  const { signal, onProgress = () => {} } = options;
  const { precision = 'f32', storage = 'auto', memoryBudget = MEMORY_BUDGET } = options;
  if (!PRECISIONS.includes(precision)) {
    throw new InputError(`precision is ${JSON.stringify(precision)}, `
      + `expected one of ${PRECISIONS.join(', ')}`);
  }
  const url = new URL(manifestUrl, globalThis.location?.href ?? import.meta.url);
  const manifest = await fetchManifest(url, signal);
  const family = FAMILIES[manifest.family];
  if (!family) {
    throw new ModelError(`${url}: family ${manifest.family}; `
      + `this engine draws ${Object.keys(FAMILIES)}`);
  }
  onProgress({ phase: 'check', loadedBytes: 0, totalBytes: downloadBytes(manifest) });
  const { device, adapter } = await openDevice();
  const pipeline = new Pipeline({ manifest, family, device, adapter, memoryBudget });
  try {
    await pipeline.check();
    throwIfAborted(signal);
    const base = new URL(manifest.weights_url ?? '.', url);
    await pipeline.download(base, url, { storage, signal, onProgress });
    return pipeline;
  } catch (error) {
    pipeline.destroy();
    throw error;
  }
}

/** A loaded model. Made by `loadPipeline`. */
class Pipeline {
  #manifest;
  #family;
  #device;
  #adapter;
  #kernels;
  #ops;
  #budget;
  #files;
  #stages;
  #tokenizer;
  #busy = false;
  #rehearsed = new Map();

  constructor({ manifest, family, device, adapter, memoryBudget }) {
    this.#manifest = manifest;
    this.#family = family;
    this.#device = device;
    this.#adapter = adapter;
    this.#budget = memoryBudget;
    this.#kernels = new Kernels(device, new URL('./wgsl/', import.meta.url));
    this.#ops = new Ops({ device, kernels: this.#kernels, watch: watchDevice(device),
      allocator: new Allocator(device, device.limits.maxStorageBufferBindingSize) });
  }

  /** Compiles the kernels that this model uses, and lets each compute a known answer. */
  async check() {
    await this.#kernels.load(KERNELS);
    const { patch } = this.#manifest; // the smallest picture needs the same kernels as any other
    const { variants } = await this.#rehearse(patch, patch);
    await selfCheck(this.#ops, variants);
  }

  /**
   * Fetches shards and tokenizer.
   * `base` is the weights' folder, `manifestUrl` says where the tokenizer lies.
   */
  async download(base, manifestUrl, options) {
    const [store, tokenizer] = await Promise.all([
      openShards(this.#manifest.shards, base, options),
      PromptTokenizer.load(this.#manifest, manifestUrl, options.signal),
    ]);
    this.#files = new TensorFiles(this.#manifest, store);
    this.#tokenizer = tokenizer;
    this.#stages = this.#openStages(this.#ops, this.#files, this.#budget);
  }

  /** What a page needs to know of the model and the device. */
  get info() {
    const { name, family, variant, pipeline, patch } = this.#manifest;
    const { vendor, architecture, description } = this.#adapter;
    return {
      name, family, variant, pipeline, patch,
      bytes: downloadBytes(this.#manifest),
      device: { vendor, architecture, description },
      kernels: [...this.#ops.variants.keys()].sort(),
    };
  }

  /**
   * GPU memory that a picture of this size needs, without drawing it.
   * @returns {Promise<{ peakBytes: number }>}
   * @throws {InputError} the size cannot be drawn
   */
  async plan({ width, height }) {
    this.#checkSize(width, height);
    const { peakBytes } = await this.#rehearse(width, height);
    return { peakBytes };
  }

  /**
   * Draws one picture.
   * @param {{ prompt: string, seed?: number, width?: number, height?: number,
   *   steps?: number }} request seed 0 .. 2^53 - 1, default 0; size and steps default to the
   *   model's own
   * @param {{ signal?: AbortSignal, onProgress?: Function, onTensor?: Function }} hooks
   *   onProgress receives { stage, step, steps, fraction }; onTensor(name, { shape, data })
   *   receives every stage's result and slows drawing
   * @returns {Promise<object>} { width, height, rgba, seed, timings, peakBytes,
   *   tokens: { count, limit, dropped } }
   * @throws {InputError | DeviceError | DOMException} the last one named AbortError
   */
  async generate(request, { signal, onProgress = () => {}, onTensor } = {}) {
    const { pipeline } = this.#manifest;
    const { width: w, height: h, num_inference_steps: n, max_sequence_length: limit } = pipeline;
    const { prompt, seed = 0, width = w, height = h, steps = n } = request;
    this.#checkRequest({ prompt, seed, width, height, steps });
    throwIfAborted(signal);
    if (this.#busy) {
      throw new InputError('A picture is being drawn already; wait for it or cancel it.');
    }
    this.#busy = true;
    const started = performance.now();
    try {
      await this.#rehearse(width, height);
      const tokens = this.#tokenizer.encode(prompt);
      this.#ops.allocator.resetPeak();
      const { rgba, timings } = await this.#family.draw(
        { g: this.#ops, stages: this.#stages, files: this.#files, manifest: this.#manifest },
        tokens, { seed, width, height, steps },
        { signal, onProgress: (p) => onProgress({ ...p, fraction: fractionOf(p) }),
          observe: this.#observer(onTensor) },
      );
      onProgress({ stage: 'decode', step: steps, steps, fraction: 1 });
      return {
        width, height, rgba, seed, timings: { ...timings, totalMs: performance.now() - started },
        peakBytes: this.#ops.allocator.peakBytes,
        tokens: { count: tokens.count, limit, dropped: tokens.dropped },
      };
    } finally {
      this.#ops.reset();
      this.#busy = false;
    }
  }

  /** Frees the GPU. The pipeline cannot be used afterwards. */
  destroy() {
    this.#stages?.free();
    this.#ops.reset();
    this.#device.destroy();
  }

  /** A dry run of one step: peak bytes, kernel variants, and an error if a buffer is too large. */
  async #rehearse(width, height) {
    const key = `${width}x${height}`;
    if (!this.#rehearsed.has(key)) {
      const allocator = new Allocator(null, this.#device.limits.maxStorageBufferBindingSize);
      const ops = new Ops({ device: null, kernels: this.#kernels, allocator });
      const files = new TensorFiles(this.#manifest, ZEROS);
      const tokens = { ids: new Int32Array(this.#manifest.pipeline.max_sequence_length), count: 1 };
      try {
        await this.#family.draw({ g: ops, stages: this.#openStages(ops, files, this.#budget), files,
          manifest: this.#manifest }, tokens, { seed: 0, width, height, steps: 1 },
        { onProgress: () => {}, observe: () => {} });
      } catch (error) {
        if (!(error instanceof ShapeError)) throw error;
        throw new InputError(`${width}x${height} is too large for this GPU: ${error.message}. `
          + 'Draw smaller.', { cause: error });
      }
      this.#rehearsed.set(key, { peakBytes: allocator.peakBytes, variants: ops.variants });
    }
    return this.#rehearsed.get(key);
  }

  #openStages(ops, files, budget) {
    const { components } = this.#manifest;
    return new Stages(ops, files, { components, budget, except: this.#family.CPU_TENSORS });
  }

  /** Reads results back for `onTensor`; several tensors are joined along their last dimension. */
  #observer(onTensor) {
    if (!onTensor) return async () => {};
    const read = async (tensor) => new Float32Array(await this.#ops.read(tensor));
    return async (name, shape, result) => {
      if (ArrayBuffer.isView(result)) return onTensor(name, { shape, data: result.slice() });
      if (!Array.isArray(result)) return onTensor(name, { shape, data: await read(result) });
      const data = new Float32Array(shape[0] * shape[1]);
      const width = shape[1] / result.length;
      for (const [i, tensor] of result.entries()) {
        const part = await read(tensor);
        for (let row = 0; row < shape[0]; row++) {
          data.set(part.subarray(row * width, (row + 1) * width), row * shape[1] + i * width);
        }
      }
      return onTensor(name, { shape, data });
    };
  }

  #checkRequest({ prompt, seed, width, height, steps }) {
    if (typeof prompt !== 'string') {
      throw new InputError(`prompt is a ${typeof prompt}, expected a string`);
    }
    if (!(Number.isSafeInteger(seed) && seed >= 0)) {
      throw new InputError(`seed is ${seed}, `
        + `expected a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
    }
    if (!(Number.isInteger(steps) && steps >= 1 && steps <= MAX_STEPS)) {
      throw new InputError(`steps is ${steps}, expected a whole number from 1 to ${MAX_STEPS}`);
    }
    this.#checkSize(width, height);
  }

  #checkSize(width, height) {
    const { patch } = this.#manifest;
    for (const [name, value] of Object.entries({ width, height })) {
      if (!(Number.isInteger(value) && value > 0 && value % patch === 0)) {
        const below = Math.max(patch, Math.floor(value / patch) * patch) || patch;
        throw new InputError(`${name} is ${value}, expected a multiple of ${patch}: `
          + `${below} or ${below + patch}`);
      }
    }
  }
}

/** How much of a picture is done: a tenth for text, a seventh for the decoder, steps between. */
function fractionOf({ stage, step, steps }) {
  return { encode: 0, denoise: 0.1 + 0.75 * step / steps, decode: 0.85 }[stage];
}

/** Bytes of all shards that a first picture needs. */
function downloadBytes({ shards }) {
  return shards.reduce((sum, { bytes, onDemand }) => sum + (onDemand ? 0 : bytes), 0);
}
