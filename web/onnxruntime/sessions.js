/** The graphs in onnxruntime-web: opened when they run, kept when all fit the budget. */
import { ModelError, UnsupportedError } from '../engine/errors.js';
import { fetchBytes } from '../loader/fetching.js';
import { sumBytes } from '../loader/manifest.js';
import { importModule } from '../loader/modules.js';

/** onnxruntime's number for what it logs: errors, and nothing less. */
const ERRORS = 3;

/** @throws {Error} the bytes are not those of a module of WebAssembly */
function checkWasm(bytes) {
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== '\0asm') {
    throw new Error('is not a module of WebAssembly');
  }
  return bytes;
}

export class Sessions {
  #onnx;
  #store;
  #ort;
  #keep;
  #open = new Map();

  /**
   * @param {import('../loader/manifest.js').Manifest['onnx']} onnx the manifest's: runtime, shards,
   *   and the graphs' files; with a provider, it computes in place of the processor
   * @param {import('../loader/shards.js').ShardStore} store with all of them
   * @param {URL} base the manifest's folder
   * @param {number} budget bytes of weights that may stay in memory between runs
   * @param {import('../loader/fetching.js').Job} [job]
   * @throws {UnsupportedError} the browser does not run it
   * @throws {DownloadError | DOMException} a part of it does not come
   */
  static async open(onnx, store, base, budget, job) {
    const ort = await importModule(new URL(onnx.module, base), job);
    const wasm = new URL(onnx.wasm, base);
    const binary = await fetchBytes(wasm, job, checkWasm);
    try {
      ort.env.wasm.wasmPaths = { wasm: wasm.href };
      ort.env.wasm.wasmBinary = binary.buffer;
      const isolated = globalThis.crossOriginIsolated;
      ort.env.wasm.numThreads = isolated ? navigator.hardwareConcurrency : 1;
      return new Sessions(onnx, store, ort, sumBytes(onnx.shards) <= budget);
    } catch (cause) {
      throw new UnsupportedError(`onnxruntime-web did not start: ${cause.message}. Reload the page, `
        + 'or use a current browser.', { cause });
    }
  }

  constructor(onnx, store, ort, keep) {
    this.#onnx = onnx;
    this.#store = store;
    this.#ort = ort;
    this.#keep = keep;
  }

  get threads() {
    return this.#ort.env.wasm.numThreads;
  }

  /**
   * @param {string} part a graph's folder
   * @param {Record<string, { type: string, data: object, dims: number[] }>} feed by input
   * @returns {Promise<{ type: string, data: object, dims: number[] }>} the one output
   */
  async run(part, feed) {
    const session = await this.#session(part);
    const inputs = Object.fromEntries(Object.entries(feed).map(([name, { type, data, dims }]) => (
      [name, new this.#ort.Tensor(type, data, dims)])));
    const { [session.outputNames[0]]: output } = await session.run(inputs);
    return output;
  }

  free() {
    for (const session of this.#open.values()) session.release();
    this.#open.clear();
  }

  async #session(part) {
    if (!this.#open.has(part)) {
      if (!this.#keep) this.free();
      this.#open.set(part, await this.#create(part));
    }
    return this.#open.get(part);
  }

  async #create(part) {
    const files = await Promise.all(Object.entries(this.#onnx.graphs[part])
      .map(async ([path, index]) => ({ path, data: await this.#read(index) })));
    const [graph, ...externalData] = files;
    try {
      const session = await this.#ort.InferenceSession.create(graph.data,
        { externalData, executionProviders: [this.#onnx.provider ?? 'wasm'],
          logSeverityLevel: ERRORS });
      this.#ort.env.wasm.wasmBinary = undefined; // the first session has started it
      return session;
    } catch (cause) {
      throw new ModelError(`${part}: onnxruntime-web does not open the graph: ${cause.message}`,
        { cause });
    }
  }

  #read(index) {
    return this.#store.read(index, 0, this.#onnx.shards[index].bytes);
  }
}
