/** Canvases and decoded pictures, in whichever of their kinds the browser has. */

/**
 * @param {number} width
 * @param {number} height
 * @returns {{ canvas: OffscreenCanvas | HTMLCanvasElement,
 *   context: OffscreenCanvasRenderingContext2D | CanvasRenderingContext2D }}
 * @throws {Error} the browser gives none
 */
export function openCanvas(width, height) {
  const canvas = 'OffscreenCanvas' in globalThis ? new OffscreenCanvas(width, height)
    : Object.assign(document.createElement('canvas'), { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  if (!context) throw new Error('the browser gives no canvas to draw on');
  return { canvas, context };
}

/** @returns {Promise<Blob>} @throws {Error} the browser does not hand it out */
export async function blobOf(canvas, type, quality) {
  const blob = canvas.convertToBlob ? await canvas.convertToBlob({ type, quality })
    : await new Promise((resolve) => { canvas.toBlob(resolve, type, quality); });
  if (!blob?.size) throw new Error('the browser does not hand out what is on a canvas');
  return blob;
}

/**
 * A picture to draw on a canvas; `close` it then.
 * @param {Blob} blob
 * @returns {Promise<{ source: CanvasImageSource, width: number, height: number,
 *   close: () => void }>} turned as its EXIF says
 * @throws {Error} it cannot be read
 */
export async function openPicture(blob) {
  try {
    const bitmap = await createImageBitmap(blob, { premultiplyAlpha: 'none' });
    const { width, height } = bitmap;
    return { source: bitmap, width, height, close: () => bitmap.close() };
  } catch {
    return openImage(blob);
  }
}

/** Where bitmaps are refused, by an <img>. */
async function openImage(blob) {
  const source = new Image();
  source.src = URL.createObjectURL(blob);
  const close = () => URL.revokeObjectURL(source.src);
  try {
    await source.decode();
    return { source, width: source.naturalWidth, height: source.naturalHeight, close };
  } catch (error) {
    close();
    throw error;
  }
}
