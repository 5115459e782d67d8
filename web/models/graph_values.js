/** What an ONNX graph is fed with: values as onnxruntime's tensors are made of them. */

/** @typedef {{ type: 'float32' | 'int64', data: ArrayLike<unknown>, dims: number[] }} GraphValue */

/** @param {ArrayLike<number>} values @param {number[]} dims @returns {GraphValue} */
export function floats(values, dims) {
  return { type: 'float32', data: Float32Array.from(values), dims };
}

/** @param {ArrayLike<number>} values @param {number[]} dims @returns {GraphValue} */
export function integers(values, dims) {
  return { type: 'int64', data: BigInt64Array.from(values, BigInt), dims };
}
