/**
 * Which kernels can compute an op on this device. The one table of them: a faster kernel is a row.
 * Knows no model; `choice.js` picks among the rows.
 */

/** Few rows: each weight is used so rarely that reading it is the work. */
export const FEW_ROWS = 8;

/**
 * Precisions, the exactest first; a caller that allows one allows those before it.
 * @type {Precision[]}
 */
export const PRECISIONS = ['f32', 'f16', 'int8'];

/** The exacter one of two. @param {Precision} one @param {Precision} other */
export function exacter(one, other) {
  return PRECISIONS[Math.min(PRECISIONS.indexOf(one), PRECISIONS.indexOf(other))];
}

/**
 * What a candidate's result may differ from the reference kernel's (Frobenius norm, relative), by
 * the precision of its operands.
 */
export const LIMITS = { f32: 1e-5, f16: 2e-3, int8: 3e-2 };

const TILES = [{ ROWS: 64, COLUMNS: 64 }, { ROWS: 32, COLUMNS: 64 }, { ROWS: 64, COLUMNS: 128 }];

/**
 * @typedef {object} Device what candidates ask of one
 * @property {boolean} f16 it has shader-f16
 * @property {number} subgroup invocations in its smallest subgroup; 0: no subgroups
 * @property {boolean} dot it multiplies packed bytes
 * @property {boolean} software its adapter is a CPU
 */

/** @typedef {'f32' | 'f16' | 'int8'} Precision of a kernel's operands */

/** @typedef {Record<string, number>} Constants */

/**
 * A way to compute an op, and a row of the table. constants are those beside the op's own, or made
 * from them; F16 makes a kernel's operands f16.
 * @typedef {{ name: string, constants: Constants, precision: Precision }} Candidate
 *
 * @typedef {{ name: string, constants: Constants | ((own: Constants) => Constants),
 *   precision: Precision, fits?: (constants: Constants, device: Device) => boolean }} Row
 */

/** @returns {Row} */
const f32 = (name, constants = {}, fits = undefined) => (
  { name, constants, precision: 'f32', fits });

const SUBGROUP = f32('linear_packed_subgroup', {},
  ({ BITS }, { subgroup }) => subgroup >= 8 && BITS <= 4);
const few = (LANES) => f32('linear_packed_few', { LANES }, ({ BITS }) => BITS <= 4);
/** @type {Row[]} */
const HALF = TILES.map((tile) => ({ name: 'linear_packed_tiled', constants: { ...tile, F16: 1 },
  precision: 'f16', fits: (_, { f16 }) => f16 }));
/** @type {Row} */
const HALF_CONVOLUTION = { name: 'conv2d_tiled', constants: { F16: 1 }, precision: 'f16',
  fits: (_, { f16 }) => f16 };
/** @type {Row} */
const INT8 = { name: 'linear_packed_int8', constants: {}, precision: 'int8',
  fits: ({ BITS }, { dot }) => dot && BITS <= 4 };

/** Queries of a workgroup: of 64 invocations or a little more; of what workgroup memory holds. */
const TILED_QUERIES = ({ DH }) => (
  { QUERIES: Math.max(8, Math.min(32, Math.floor(4096 / DH / 8) * 8)) });

/**
 * Candidates by op, those for a GPU and those for a CPU, best guess first. The reference kernel,
 * which everything is checked against, stands in each list.
 * @type {Record<string, { reference: Row, gpu: Row[], cpu: Row[] }>}
 */
const CANDIDATES = {
  linear_packed: {
    reference: f32('linear_packed'),
    gpu: [INT8, ...HALF, ...TILES.map((tile) => f32('linear_packed_tiled', tile)),
      f32('linear_packed')],
    // Registers are as fast as workgroup memory there, and compile ten times faster.
    cpu: [INT8, HALF[0], SUBGROUP, f32('linear_packed')],
  },
  'linear_packed few': {
    reference: f32('linear_packed'),
    gpu: [few(32), few(8), f32('linear_packed')],
    cpu: [few(1), f32('linear_packed')],
  },
  linear_dense: {
    reference: f32('linear_dense'),
    gpu: [f32('linear_dense')],
    cpu: [f32('linear_dense')],
  },
  attention: {
    reference: f32('attention'),
    gpu: [f32('attention_tiled', TILED_QUERIES, ({ DH }) => DH % 16 === 0 && DH <= 512),
      f32('attention')],
    cpu: [f32('attention')],
  },
  conv2d: {
    reference: f32('conv2d'),
    gpu: [HALF_CONVOLUTION, f32('conv2d_tiled'), f32('conv2d')],
    cpu: [f32('conv2d')],
  },
};

/**
 * The candidates for an op that this device has, best guess first.
 * @param {string} op key of the table
 * @param {Constants} constants the reference kernel's
 * @param {Device} device
 * @param {Precision} precision the least exact that is allowed; those of it come first
 * @returns {Candidate[]}
 */
export function candidatesFor(op, constants, device, precision) {
  const allowed = PRECISIONS.slice(0, PRECISIONS.indexOf(precision) + 1);
  const list = CANDIDATES[op][device.software ? 'cpu' : 'gpu'];
  return list.filter((candidate) => allowed.includes(candidate.precision)
    && (candidate.fits?.(constants, device) ?? true))
    .map((candidate) => resolve(candidate, constants))
    .sort((a, b) => allowed.indexOf(b.precision) - allowed.indexOf(a.precision));
}

/** The kernel that an op's candidates are checked against. @returns {Candidate} */
export function referenceOf(op, constants) {
  return resolve(CANDIDATES[op].reference, constants);
}

/**
 * @param {Row} row
 * @param {Constants} constants the reference kernel's
 * @returns {Candidate}
 */
function resolve({ constants: own, ...rest }, constants) {
  return { ...rest, constants: typeof own === 'function' ? own(constants) : own };
}

/** The choice of who does not choose. */
export const REFERENCES = { pick: referenceOf };

/**
 * What candidates ask of a device.
 * @param {{ features: Iterable<string> }} device a GPUDevice
 * @param {import('./device.js').AdapterInfo} adapter what `inspectDevice` says of it
 * @returns {Device}
 */
export function abilitiesOf(device, adapter) {
  const { software, subgroupMinSize } = adapter;
  const features = new Set(device.features);
  return {
    f16: features.has('shader-f16'),
    subgroup: features.has('subgroups') ? subgroupMinSize : 0,
    dot: Boolean(navigator.gpu.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product')),
    software,
  };
}
