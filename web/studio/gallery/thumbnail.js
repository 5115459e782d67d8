/** Small copies of pictures, for the list. */

import { blobOf, openCanvas, openPicture } from '../canvas.js';

const LONGEST_SIDE = 320; // pixels: 160 CSS pixels on a dense screen

/**
 * @param {Blob} blob a picture
 * @returns {Promise<Blob>} WebP, or PNG where that is unknown
 * @throws {Error} the browser makes none
 */
export async function makeThumbnail(blob) {
  const picture = await openPicture(blob);
  try {
    const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
    const [width, height] = [picture.width, picture.height]
      .map((side) => Math.max(1, Math.round(side * scale)));
    const { canvas, context } = openCanvas(width, height);
    context.imageSmoothingQuality = 'high';
    context.drawImage(picture.source, 0, 0, width, height);
    return await blobOf(canvas, 'image/webp', 0.85);
  } finally {
    picture.close();
  }
}
