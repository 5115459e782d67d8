/** Kernels as they are fetched, dispatched and compiled; assembly.js knows their text. */
import { assemble, checkText, partFile, partsOf, placeOf, readKernel } from './assembly.js';
import { ModelError, ShapeError, UnsupportedError } from './errors.js';
import { together } from './waiting.js';

const MAX_WORKGROUPS = 65535;

/** How kernels number the float formats of weights and scales. */
export const FORMAT = { f32: 0, bf16: 1, f16: 2 };

/**
 * Workgroups in x, y, z. A term is a product of names and integers with at most one divisor,
 * rounded up.
 * @param {import('./assembly.js').Kernel} kernel
 * @param {Record<string, number>} values dims and overrides
 */
export function gridOf(kernel, values) {
  const counts = kernel.grid.map((term) => {
    const [product, divisor = '1'] = term.split('/');
    const value = (word) => {
      const number = /^\d+$/.test(word) ? Number(word) : values[word];
      if (number === undefined) {
        throw new ModelError(`${kernel.name}.wgsl: grid names ${word}, which is no dim`);
      }
      return number;
    };
    const above = product.split('*').reduce((total, word) => total * value(word.trim()), 1);
    return Math.ceil(above / value(divisor.trim()));
  });
  if (kernel.stride) counts[0] = Math.min(counts[0], MAX_WORKGROUPS);
  if (counts.some((count) => !(count >= 1 && count <= MAX_WORKGROUPS))) {
    throw new ShapeError(`${kernel.name}: a grid of [${counts}] workgroups; `
      + `WebGPU allows 1 to ${MAX_WORKGROUPS}`);
  }
  return [counts[0], counts[1] ?? 1, counts[2] ?? 1];
}

/** Packs dims in declared order, 4 bytes each, padded to 16 bytes. */
export function packDims(kernel, dims) {
  const bytes = new DataView(new ArrayBuffer(Math.ceil(kernel.dims.length / 4) * 16));
  kernel.dims.forEach(({ field, type }, i) => {
    if (!Number.isFinite(dims[field])) {
      throw new ShapeError(`${kernel.name}: dim ${field} is ${dims[field]}`);
    }
    if (type === 'u32') bytes.setUint32(4 * i, dims[field], true);
    else bytes.setFloat32(4 * i, dims[field], true);
  });
  return new Uint8Array(bytes.buffer);
}

/** The kernels of one folder: fetched once, compiled once per (name, constants), concurrently. */
export class Kernels {
  #device;
  #base;
  #fetchText;
  #texts = new Map(); // by file: of kernels and parts
  #kernels = new Map();
  #compiling = new Map();
  #pipelines = new Map();
  /**
   * Called when a pipeline is begun or done, with how many are.
   * @type {(counts: { done: number, asked: number }) => void}
   */
  onCompile = () => {};

  /**
   * @param {GPUDevice} device
   * @param {URL | string} base folder of the .wgsl files, ending in '/'
   * @param {(url: URL, job: object, read: (text: string) => object) => Promise<object>} fetchText
   *   as loader/fetching.js has it: what `read` makes of a file's text
   */
  constructor(device, base, fetchText) {
    this.#device = device;
    this.#base = base;
    this.#fetchText = fetchText;
  }

  /**
   * Fetches kernels by name, then the parts that they are made of. Must be awaited before
   * `interface` or `compile` knows them.
   * @param {string[]} names
   * @param {import('../loader/fetching.js').Job} [job]
   * @throws {DownloadError | DOMException}
   */
  async load(names, job = {}) {
    const textOf = (file) => this.#texts.get(file);
    await this.#fetch(names, job);
    await this.#fetch(names.flatMap((name) => partsOf(textOf(name)).map(partFile)), job);
    for (const name of names) {
      if (!this.#kernels.has(name)) this.#kernels.set(name, readKernel(name, textOf));
    }
  }

  /**
   * Texts that are not here yet.
   * @param {string[]} files
   * @param {import('../loader/fetching.js').Job} job
   */
  async #fetch(files, { signal, onWait }) {
    const missing = [...new Set(files)].filter((file) => !this.#texts.has(file));
    await together(missing, missing.length, signal, async (file, common) => {
      const url = new URL(`${file}.wgsl`, this.#base);
      this.#texts.set(file, await this.#fetchText(url, { signal: common, onWait }, (text) => {
        checkText(file, text);
        return text;
      }));
    });
  }

  /** @returns {import('./assembly.js').Kernel} */
  interface(name) {
    const kernel = this.#kernels.get(name);
    if (!kernel) throw new ModelError(`kernel ${name} was not loaded`);
    return kernel;
  }

  /** SHA-256 of all sources: what was found out about other kernels says nothing of these. */
  async fingerprint() {
    const text = [...this.#texts].sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, source]) => source).join('');
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  /**
   * One pipeline's identity: kernel name and the constants that differ from its defaults. F16 is
   * none of the kernel's own: it makes `act` f16.
   */
  static key(name, constants) {
    const parts = Object.keys(constants).sort().map((k) => `${k}=${Number(constants[k])}`);
    return `${name} ${parts.join(' ')}`.trim();
  }

  /**
   * Compiles what is missing of `variants` ([name, constants] pairs), all at once.
   * @throws {UnsupportedError} one does not compile
   */
  async compile(variants) {
    await Promise.all(variants.map(([name, constants]) => this.#compiled(name, constants)));
  }

  #compiled(name, constants) {
    const key = Kernels.key(name, constants);
    if (!this.#compiling.has(key)) {
      this.#compiling.set(key, this.#create(key, name, constants).then((pipeline) => {
        this.#pipelines.set(key, pipeline);
        this.#tell();
      }));
      this.#tell();
    }
    return this.#compiling.get(key);
  }

  #tell() {
    this.onCompile({ done: this.#pipelines.size, asked: this.#compiling.size });
  }

  /** @returns {GPUComputePipeline} one that `compile` made */
  pipeline(name, constants) {
    return this.#pipelines.get(Kernels.key(name, constants));
  }

  async #create(key, name, constants) {
    const kernel = this.#kernels.get(name);
    const code = assemble(kernel, constants);
    let module = null;
    try {
      this.#device.pushErrorScope('validation'); // the pipeline's error says it, too
      module = this.#device.createShaderModule({ label: name, code });
      this.#device.popErrorScope().catch(() => {});
      return await this.#device.createComputePipelineAsync({
        label: key, layout: 'auto', compute: { module, entryPoint: 'main' },
      });
    } catch (cause) {
      const lines = [cause.message, ...await complaints(kernel, module)];
      throw new UnsupportedError(`This GPU does not compile the kernel ${key}: `
        + `${lines.join('\n')}. Update the graphics driver or the browser, or use another one.`,
      { cause });
    }
  }
}

/** What the compiler says of a module, if it says anything. */
async function complaints(kernel, module) {
  try {
    const { messages } = await module.getCompilationInfo();
    return messages.map(({ lineNum, linePos, message }) => {
      const { file, line } = placeOf(kernel, lineNum);
      return `${file}.wgsl:${line}:${linePos} ${message}`;
    });
  } catch {
    return [];
  }
}
