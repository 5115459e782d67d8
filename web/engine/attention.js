/** How attention is dispatched, whichever kernel computes it. */

/**
 * The reference kernel's constants.
 * @param {{ headWidth: number, causal?: boolean, window?: number, softcap?: number,
 *   bias?: import('./memory.js').Tensor }} options as `attention` in ops.js takes them
 * @param {number} Tk keys: a window that holds all of them is none
 */
export function attentionSite({ headWidth, causal, window, softcap, bias }, Tk) {
  return { DH: headWidth, ...(causal && { CAUSAL: 1 }), ...(window < Tk && { WINDOW: window }),
    ...(softcap && { SOFTCAP: softcap }), ...(bias && { BIAS: 1 }) };
}

/**
 * Records o = softmax(q k^T) v for queries that one dispatch may take.
 * @param {import('./recorder.js').Recorder} g
 * @param {import('./candidates.js').Candidate} kernel
 * @param {{ constants: Record<string, number>, dims: Record<string, number>, q:
 *   import('./memory.js').Tensor, k: import('./memory.js').Tensor, v: import('./memory.js').Tensor,
 *   bias?: import('./memory.js').Tensor, o: import('./memory.js').Tensor }} call constants: the
 *   reference kernel's; dims: without `distances`
 */
export function recordAttention(g, { name, constants: own },
  { constants, dims, q, k, v, bias, o }) {
  g.dispatch(name, {
    constants: { ...constants, ...own }, dims: { ...dims, distances: bias?.width ?? 0 },
    tensors: [q, k, v, bias ?? v, o], cost: 4 * dims.Tq * dims.Tk * dims.Hq * constants.DH,
  });
}
