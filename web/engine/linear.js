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
export const EPILOGUE = { write: 0, add: 1, swiglu: 2, gate: 3 };

/**
 * The op and the reference kernel's constants for a weight's storage kind, and its buffers.
 * @param {import('./weights.js').Weight} weight
 * @param {number} M rows of x
 * @returns {{ op: string, constants: object, buffers: import('./memory.js').Tensor[] }} op as
 *   candidates.js names it; buffers in binding order, those that are not read being filled in
 */
export function linearSite({ label, storage, group, scalesDtype, codes, scales, biases, data }, M) {
  if (storage in FORMAT) {
    return { op: 'linear_dense', constants: { FORMAT: FORMAT[storage] }, buffers: [data] };
  }
  const packed = PACKED[storage];
  if (!packed) throw new ShapeError(`linear ${label}: storage ${storage} has no kernel`);
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
 * @param {{ constants: object, buffers: import('./memory.js').Tensor[], dims: object,
 *   x: import('./memory.js').Tensor, y: import('./memory.js').Tensor,
 *   gate?: import('./memory.js').Tensor, epilogue: number }} call constants: the reference kernel's
 */
export function recordLinear(g, { name, constants: own },
  { constants, buffers, dims, x, y, gate, epilogue }) {
  g.scope(() => {
    const input = name === 'linear_packed_int8' ? quantized(g, x, constants) : x;
    g.dispatch(name, {
      constants: { ...constants, ...own, ...(epilogue && { EPILOGUE: epilogue }) },
      dims, tensors: [input, ...buffers, gate ?? buffers[0], y], cost: 2 * dims.M * dims.N * dims.K,
    });
  });
}

/** x [M, K] as bytes, in the order in which codes of this width are unpacked. */
function quantized(g, x, { BITS, GROUP }) {
  const [M, K] = x.shape;
  const q = g.empty([M, K / 4 + 2 * K / GROUP], `${x.label} as bytes`);
  g.dispatch('quantize_rows', {
    constants: { GROUP, STRIDE: 8 / BITS }, dims: { M, K }, tensors: [x, q], cost: 4 * x.count,
  });
  return q;
}
