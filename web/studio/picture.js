/** From pixels to a PNG file that says how it was made. */

import { blobOf, openCanvas } from './canvas.js';
import { textsOf } from './metadata.js';
import { packPixels, withTexts } from './png.js';

/**
 * @param {{ rgba: Uint8ClampedArray, width: number, height: number }} picture the library's
 * @param {import('./metadata.js').Settings} settings
 * @returns {Promise<Blob>} image/png, every pixel exact, the settings as text
 */
export async function encodePng(picture, settings) {
  const png = await byCanvas(picture).catch(() => packPixels(picture));
  return withTexts(png, textsOf(settings));
}

async function byCanvas({ rgba, width, height }) {
  const { canvas, context } = openCanvas(width, height);
  context.putImageData(new ImageData(rgba, width, height), 0, 0);
  return blobOf(canvas, 'image/png');
}

/** @returns {string} for example "a-red-maple-in-a-blue-pot-seed-42.png" */
export function fileName({ prompt, seed }) {
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ['picture'];
  return `${words.slice(0, 8).join('-').slice(0, 60)}-seed-${seed}.png`;
}

export function savePng(picture) {
  saveAs(picture.url, fileName(picture));
}

export function saveAs(url, name) {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
}
