/**
 * WGSL files: their declared interface, and their pipelines.
 * Every fact about a kernel is read from its file.
 */
import { ModelError, ShapeError, UnsupportedError } from './errors.js';
import { together } from './waiting.js';

const MAX_WORKGROUPS = 65535;

/** How kernels number the float formats of weights and scales. */
export const FORMAT = { f32: 0, bf16: 1, f16: 2 };

/**
 * Reads what a kernel declares: `struct Dims`, the bindings, the overrides and the `grid` line of
 * its header.
 * @param {string} name
 * @param {string} wgsl
 */
export function readInterface(name, wgsl) {
  const [, fields] = wgsl.match(/struct Dims \{([^}]*)\}/) ?? [];
  const [, grid] = wgsl.match(/^\/\/\s+grid\s+([^\n]*?)\s*(?:\(|$)/m) ?? [];
  if (!fields || !grid) {
    throw new ModelError(`${name}.wgsl declares no struct Dims or no grid line`);
  }
  return {
    name,
    dims: [...fields.matchAll(/(\w+)\s*:\s*(u32|f32)/g)]
      .map(([, field, type]) => ({ field, type })),
    bindings: [...wgsl.matchAll(/@binding\((\d+)\) var<storage, (read|read_write)> (\w+)/g)]
      .map(([, slot, access, binding]) => ({
        slot: Number(slot), name: binding, writes: access === 'read_write',
      })),
    overrides: Object.fromEntries(
      [...wgsl.matchAll(/^override (\w+)\s*(?::\s*\w+)?\s*=\s*([\w.]+);/gm)]
        .map(([, constant, value]) => [constant, parseConstant(value)]),
    ),
    stride: /\bstride$/.test(grid),
    grid: grid.replace(/\s*stride$/, '').split(',').map((term) => term.trim()),
  };
}

function parseConstant(text) {
  if (text === 'true' || text === 'false') return text === 'true' ? 1 : 0;
  return Number.parseFloat(text);
}

/**
 * Workgroups in x, y, z. A term is a product of names and integers with at most one divisor,
 * rounded up.
 * @param {ReturnType<typeof readInterface>} kernel
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

/**
 * What stands before a kernel's own text, on its first line: WGSL wants directives first, and a
 * kernel that calls the type of its operands `act`, and its largest value ACT_MAX, leaves the
 * choice to its caller.
 */
function prelude(source, f16) {
  const enable = [f16 && 'f16', source.includes('subgroup_invocation_id') && 'subgroups'];
  const directives = enable.filter(Boolean).map((name) => `enable ${name}; `).join('');
  if (!/\bact\b/.test(source)) return directives;
  return directives + (f16 ? 'alias act = f16; const ACT_MAX = 65504.0; '
    : 'alias act = f32; const ACT_MAX = 3.4e38; ');
}

/** @throws {Error} the text is not all of a kernel */
function read(name, source) {
  const count = (brace) => source.split(brace).length - 1;
  if (!source.includes('fn main(') || count('{') !== count('}')) {
    throw new Error('is not a whole kernel: its text ends early');
  }
  try {
    return { source, interface: readInterface(name, source) };
  } catch (cause) {
    throw new Error(`is not a kernel: ${cause.message}`, { cause });
  }
}

/** The kernels of one folder: fetched once, compiled once per (name, constants), concurrently. */
export class Kernels {
  #device;
  #base;
  #fetchText;
  #files = new Map();
  #compiling = new Map();
  #pipelines = new Map();
  /** Called when a pipeline is begun or done, with how many are. */
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
   * Fetches kernels by name. Must be awaited before `interface` or `compile` knows them.
   * @param {string[]} names
   * @param {{ signal?: AbortSignal, onWait?: Function }} [job] as the loader's `receive` has it
   * @throws {DownloadError | DOMException}
   */
  async load(names, { signal, onWait } = {}) {
    const missing = names.filter((name) => !this.#files.has(name));
    await together(missing, missing.length, signal, async (name, common) => {
      const url = new URL(`${name}.wgsl`, this.#base);
      const file = await this.#fetchText(url, { signal: common, onWait },
        (text) => read(name, text));
      this.#files.set(name, file);
    });
  }

  interface(name) {
    const file = this.#files.get(name);
    if (!file) throw new ModelError(`kernel ${name} was not loaded`);
    return file.interface;
  }

  /** SHA-256 of all sources: what was found out about other kernels says nothing of these. */
  async fingerprint() {
    const text = [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { source }]) => source).join('');
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
    const { source, interface: declared } = this.#files.get(name);
    const { F16: f16 = 0, ...overrides } = constants;
    const unknown = Object.keys(overrides).filter((constant) => !(constant in declared.overrides));
    if (unknown.length) throw new ModelError(`${name}.wgsl has no override ${unknown.join(', ')}`);
    let module = null;
    try {
      this.#device.pushErrorScope('validation'); // the pipeline's error says it, too
      module = this.#device.createShaderModule({ label: name,
        code: prelude(source, f16) + source });
      this.#device.popErrorScope().catch(() => {});
      return await this.#device.createComputePipelineAsync({
        label: key, layout: 'auto',
        compute: { module, entryPoint: 'main', constants: numbers(overrides) },
      });
    } catch (cause) {
      const lines = [cause.message, ...await complaints(name, module)];
      throw new UnsupportedError(`This GPU does not compile the kernel ${key}: `
        + `${lines.join('\n')}. Update the graphics driver or the browser, or use another one.`,
      { cause });
    }
  }
}

/** What the compiler says of a module, if it says anything. */
async function complaints(name, module) {
  try {
    const { messages } = await module.getCompilationInfo();
    return messages.map((m) => `${name}.wgsl:${m.lineNum}:${m.linePos} ${m.message}`);
  } catch {
    return [];
  }
}

function numbers(constants) {
  return Object.fromEntries(Object.entries(constants)
    .map(([name, value]) => [name, Number(value)]));
}
