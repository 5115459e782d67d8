/** How a linear is dispatched, whichever kernel computes it. */
import { FEW_ROWS } from './candidates.js';
import { ShapeError } from './errors.js';
import { FORMAT } from './kernels.js';

/** Code width and the zero of each packed storage kind; affine ones have biases too. */
const PACKED = {
  binary: { bits: 1, zero: 0.5 }, ternary: { bits: 2, zero: 1 },
  affine1: { bits: 1, zero: 1 }, affine2: { bits: 2, zero: 2 },
  affine4: { bits: 4, zero: 8 }, affine8: { bits: 8, zero: 128 },
};

/** What becomes of the product, as the kernels number it. */
export const EPILOGUE = { write: 0, add: 1, glu: 2, gate: 3 };

/** What is applied to the product before that, or to what `glu` multiplies. */
export const ACT = { none: 0, silu: 1, gelu_tanh: 2, quick_gelu: 3, relu: 4 };

/** 1-bit codes of a word: a row of a matrix, or a part of it, is whole words. */
const WORD = 32;

/**
 * Inputs that a linear takes at a time: what it takes, and where, is a multiple of these.
 * @param {{ BITS?: number, GROUP?: number }} constants the reference kernel's
 */
export function inputUnit({ BITS: bits, GROUP: group }) {
  if (bits === undefined) return 4;
  return bits === 1 && group % WORD ? 2 * group : group;
}

/**
 * The op and the reference kernel's constants for a weight's storage kind, and its buffers.
 * @param {import('./weights.js').Weight} weight
 * @param {number} M rows of x
 * @returns {{ op: string, constants: Record<string, number>,
 *   buffers: import('./memory.js').Tensor[] }} op as candidates.js names it; buffers in binding
 *   order, those that are not read being filled in
 */
export function linearSite({ label, storage, group, scalesDtype, codes, scales, biases, data }, M) {
  if (storage in FORMAT) {
    return { op: 'linear_dense', constants: { FORMAT: FORMAT[storage] }, buffers: [data] };
  }
  const packed = PACKED[storage];
  if (!packed) throw new ShapeError(`linear ${label}: storage ${storage} has no kernel`);
  if (!(group > 0 && group % 16 === 0)) {
    throw new ShapeError(`linear ${label}: groups of ${group}, expected a multiple of 16`);
  }
  return {
    op: M > FEW_ROWS ? 'linear_packed' : 'linear_packed few',
    constants: { BITS: packed.bits, ZERO: packed.zero, GROUP: group, FORMAT: FORMAT[scalesDtype],
      ...(biases && { BIASED: 1 }) },
    buffers: [codes, scales, biases ?? scales],
  };
}

/**
 * Records y = epilogue(x . W^T) for rows that one dispatch may take.
 * @param {import('./recorder.js').Recorder} g
 * @param {import('./candidates.js').Candidate} kernel
 * @param {{ constants: Record<string, number>, buffers: import('./memory.js').Tensor[],
 *   dims: Record<string, number>,
 *   x: import('./memory.js').Tensor, y: import('./memory.js').Tensor,
 *   bias?: import('./memory.js').Tensor, gate?: import('./memory.js').Tensor, act?: number,
 *   epilogue?: number }} call constants: the reference kernel's; bias f32 [N_all]
 */
export function recordLinear(g, { name, constants: own },
  { constants, buffers, dims, x, y, bias, gate, act = ACT.none, epilogue = EPILOGUE.write }) {
  const after = { ...(bias && { BIAS: 1 }), ...(act && { ACT: act }),
    ...(epilogue && { EPILOGUE: epilogue }) };
  const [unread] = buffers; // what is bound has to be something
  g.scope(() => {
    const input = name === 'linear_packed_int8' ? quantized(g, x, constants) : x;
    g.dispatch(name, {
      constants: { ...constants, ...own, ...after }, dims,
      tensors: [input, ...buffers, bias ?? unread, gate ?? unread, y],
      cost: 2 * dims.M * dims.N * dims.K,
    });
  });
}

/**
 * quantize_rows' constants for the linear_packed_int8 of these: GROUP inputs, a span of a group of
 * the weights, share a scale as bytes. STRIDE: inputs between those that share a word, for the codes
 * of every STRIDE-th are found in one word, or in half of one.
 * @param {{ BITS?: number, GROUP?: number }} constants
 */
export function byteGroups({ BITS: bits, GROUP: group }) {
  const span = group <= 256 ? group : Math.min(128, group & -group);
  return { GROUP: span, STRIDE: Math.min(8 / bits, span % WORD ? 4 : 8) };
}

/**
 * x [M, K] as bytes, in the order in which linear_packed_int8 unpacks codes of this width.
 * @param {import('./recorder.js').Recorder} g
 * @param {import('./memory.js').Tensor} x
 * @param {{ BITS?: number, GROUP?: number }} of
 */
function quantized(g, x, of) {
  const [M, K] = x.shape;
  const constants = byteGroups(of);
  const q = g.empty([M, K / 4 + 2 * K / constants.GROUP], `${x.label} as bytes`);
  g.dispatch('quantize_rows', { constants, dims: { M, K }, tensors: [x, q], cost: 4 * x.count });
  return q;
}
