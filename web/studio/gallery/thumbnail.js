/** Small copies of pictures, for the list. */

const LONGEST_SIDE = 320; // pixels: 160 CSS pixels on a dense screen

/** @param {Blob} blob a picture @returns {Promise<Blob>} WebP, or PNG where that is unknown */
export async function makeThumbnail(blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const sides = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(...sides);
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, ...sides);
  bitmap.close();
  return canvas.convertToBlob({ type: 'image/webp', quality: 0.85 });
}
