/** Handing out what the stages of a picture computed. */

/**
 * @param {(tensor: any) => Promise<ArrayBufferLike>} read
 * @param {import('./types.js').OnTensor} [onTensor] receives (name, { shape, data }); several
 *   tensors are joined along their last dimension
 * @param {boolean} [blocks] whether the denoiser's blocks are asked for
 * @returns {(name: string, shape: number[], result: any) => Promise<unknown>}
 */
export function observer(read, onTensor, blocks) {
  if (!onTensor) return async () => {};
  const floats = async (tensor) => new Float32Array(await read(tensor));
  return async (name, shape, result) => {
    if (name.startsWith('block.') && !blocks) return undefined;
    if (ArrayBuffer.isView(result)) {
      return onTensor(name, { shape, data: /** @type {Float32Array} */ (result).slice() });
    }
    if (!Array.isArray(result)) return onTensor(name, { shape, data: await floats(result) });
    const data = new Float32Array(shape[0] * shape[1]);
    const width = shape[1] / result.length;
    for (const [i, tensor] of result.entries()) {
      const part = await floats(tensor);
      for (let row = 0; row < shape[0]; row++) {
        data.set(part.subarray(row * width, (row + 1) * width), row * shape[1] + i * width);
      }
    }
    return onTensor(name, { shape, data });
  };
}
