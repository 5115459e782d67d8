/**
 * onnxruntime-web on the same rows: only where a folder has it, which a site has not. The models
 * are graphs alone; their weights are the row's own numbers, in the layouts that it wants.
 */
import { fetchJson } from '../loader/fetching.js';
import { fromHalves, toHalves } from './halves.js';
import { SUBJECTS } from './subjects.js';

/** @typedef {import('./shapes.js').Row} Row */
/** @typedef {import('./subjects.js').Numbers} Numbers */
/**
 * @typedef {(row: Row, numbers: Numbers, file: Record<string, any>) => ArrayBufferView} Layout
 */

/**
 * What an op's tensors are in onnxruntime's layouts: inputs by name, [dims, values] each.
 * @type {Record<string,
 *   (row: Row, numbers: Numbers) => Record<string, [number[], Float32Array]>>}
 */
const INPUTS = {
  linear: ({ M, K }, { x }) => ({ x: [[M, K], x] }),
  conv2d: planes,
  depthwise: planes,
  linearGrouped: planes,
  linearAttention: ({ T, H, Dh }, numbers) => Object.fromEntries(['q', 'k', 'v'].map((name) => (
    [name, [[1, T, H * Dh], numbers[name]]]))),
  attention: ({ Tq, Tk, Hq, Hkv, Dh }, { q, k, v }) => ({
    q: [[1, Tq, Hq * Dh], q], k: [[1, Tk, Hkv * Dh], k], v: [[1, Tk, Hkv * Dh], v] }),
};

/** The result's dims there. */
const RESULT = {
  linear: ({ M, N }) => [M, N],
  conv2d: ({ H, W, Cout }) => [1, Cout, H, W],
  depthwise: ({ H, W, C }) => [1, C, H, W],
  linearGrouped: ({ H, W, C }) => [1, C, H, W],
  linearAttention: ({ T, H, Dh }) => [1, T, H * Dh],
  attention: ({ Tq, Hq, Dh }) => [1, Tq, Hq * Dh],
};

/**
 * The weights that a model names: `layout` of its file says which.
 * @type {Record<string, Layout>}
 */
const LAYOUTS = {
  codes: blockCodes,
  scales: blockScales,
  zeros: ({ N, K }, numbers, { bits, block, zero }) => {
    const perRow = Math.ceil(K / block * bits / 8);
    let byte = 0;
    for (let bit = 0; bit < 8; bit += bits) byte |= zero << bit;
    return new Uint8Array(N * perRow).fill(byte);
  },
  matrix: ({ N, K, group }, { dense, codes, zero, scales }) => {
    if (dense) return turned(dense.values, N, K);
    const values = new Float32Array(N * K); // [K, N]
    codes.forEach((code, i) => {
      values[i % K * N + Math.floor(i / K)] = scales[Math.floor(i / group)] * (code - zero);
    });
    return values;
  },
  filters: ({ Cin, Cout, KS }, { weight: { values } }) => {
    const filters = new Float32Array(values.length); // [Cout, Cin, KS, KS]
    const area = KS * KS * Cin;
    for (let o = 0; o < Cout; o++) {
      filters.set(turned(values.subarray(o * area, (o + 1) * area), KS * KS, Cin), o * area);
    }
    return filters;
  },
  taps: ({ KS }, { weight: { values } }) => turned(values, KS * KS, values.length / KS ** 2),
  groups: (row, { weight: { values } }) => values,
  bias: (row, { bias }) => bias,
};

/**
 * @param {URL} base folder with theirs.json: { version, runtime, wasm, lines: [{ row, name, type,
 *   provider, model, files: [{ path, layout, type, ... }], options }] }
 */
export async function openTheirs(base) {
  const { version, runtime, wasm, lines } = await fetchJson(new URL('theirs.json', base))
    .catch((cause) => {
      throw new Error(`${cause.message} Expected what python -m tests.bench puts there; open the `
        + 'page without ?ort=.', { cause });
    });
  const ort = await import(new URL(runtime, base).href);
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  return {
    version,
    threads: ort.env.wasm.numThreads,
    /** For whole pictures, as the manifest's `onnx` names a runtime. */
    runtimes: [{ provider: 'webgpu', module: new URL(runtime, base).href,
      wasm: new URL(wasm, base).href }],
    /** Runners for a row, as measure.js wants them. */
    async open(row, numbers) {
      const wanted = lines.filter((line) => line.row === row.id);
      const runners = [];
      for (const line of wanted) {
        runners.push(await openSession(ort, base, line, row, numbers).catch((error) => ({
          kind: 'theirs', name: line.name, precision: line.type, provider: line.provider,
          run: () => Promise.reject(error),
        })));
      }
      return runners;
    },
  };
}

async function openSession(ort, base, line, row, numbers) {
  const { name, type, provider, model, files, options } = line;
  const gpu = provider === 'webgpu';
  const session = await ort.InferenceSession.create(new URL(model, base).href, {
    executionProviders: [{ name: provider, ...options }],
    preferredOutputLocation: gpu ? 'gpu-buffer' : 'cpu',
    externalData: files.map((file) => ({ path: file.path,
      data: bytesOf(LAYOUTS[file.layout](row, numbers, file), file.type) })),
  });
  const device = gpu ? await ort.env.webgpu.device : null;
  const half = type === 'f16';
  if (half && !device.features.has('shader-f16')) {
    await session.release();
    throw new Error('this device has no shader-f16');
  }
  const dataType = half ? 'float16' : 'float32';
  const buffers = [];
  const feeds = {};
  for (const [input, [dims, values]] of Object.entries(INPUTS[row.op](row, numbers))) {
    const data = bytesOf(values, type);
    if (!gpu) {
      feeds[input] = new ort.Tensor(dataType, values, dims);
      continue;
    }
    const buffer = device.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
    device.queue.writeBuffer(buffer, 0, data);
    buffers.push(buffer);
    feeds[input] = ort.Tensor.fromGpuBuffer(buffer, { dataType, dims });
  }
  return {
    kind: 'theirs', name, precision: type, provider,
    async run(runs) {
      for (let i = 0; i < runs; i++) (await session.run(feeds)).y.dispose();
      if (gpu) await device.queue.onSubmittedWorkDone();
    },
    async read() {
      const { y } = await session.run(feeds);
      const data = await y.getData();
      const values = half && data instanceof Uint16Array
        ? fromHalves(data)
        : Float32Array.from(data);
      y.dispose();
      return ownLayout(row, values);
    },
    async close() {
      await session.release();
      buffers.forEach((buffer) => buffer.destroy());
    },
  };
}

/** Their result, channels last. */
function ownLayout(row, values) {
  const expected = RESULT[row.op](row).reduce((product, n) => product * n, 1);
  if (values.length !== expected || expected !== SUBJECTS[row.op].count(row)) {
    throw new Error(`${row.id}: onnxruntime gave ${values.length} elements, expected ${expected}`);
  }
  const [, C, H, W] = RESULT[row.op](row);
  return W ? turned(values, C, H * W) : values;
}

/**
 * A map, channels first.
 * @param {Row} row
 * @param {Numbers} numbers
 * @returns {Record<string, [number[], Float32Array]>}
 */
function planes({ H, W }, { x }) {
  const C = x.length / (H * W);
  return { x: [[1, C, H, W], turned(x, H * W, C)] };
}

/** [rows, columns] -> [columns, rows] */
function turned(values, rows, columns) {
  const result = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) result[c * rows + r] = values[r * columns + c];
  }
  return result;
}

/**
 * [N, K / block, block * bits / 8], codes being steps of the scale above `zero`.
 * @type {Layout}
 */
function blockCodes({ N, K }, { codes, zero }, { bits, zero: theirZero }) {
  const bytes = new Uint8Array(N * K * bits / 8);
  const perByte = 8 / bits;
  codes.forEach((code, i) => {
    bytes[Math.floor(i / perByte)] |= (steps(zero) * (code - zero) + theirZero)
      << bits * (i % perByte);
  });
  return bytes;
}

/** [N, K / block] @type {Layout} */
function blockScales({ N, K, group }, { scales, zero }, { block }) {
  return Float32Array.from({ length: N * K / block },
    (_, i) => scales[Math.floor(i * block / group)] / steps(zero));
}

/** Binary codes lie half a scale from their zero; onnxruntime's zero is a code. */
function steps(zero) {
  return zero % 1 ? 2 : 1;
}

function bytesOf(values, type) {
  const view = type === 'f16' ? toHalves(Float32Array.from(values)) : values;
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
