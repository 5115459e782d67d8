/** From pixels to a PNG file that says how it was made. */

import { withText } from './png.js';

/**
 * @param {object} picture the library's: rgba, width, height, seed
 * @param {{ prompt: string, steps: number, model: string }} origin
 * @returns {Promise<Blob>} image/png, every pixel exact, the settings as text under "parameters"
 */
export async function encodePng(picture, origin) {
  const { rgba, width, height } = picture;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d').putImageData(new ImageData(rgba, width, height), 0, 0);
  const png = await canvas.convertToBlob({ type: 'image/png' });
  return withText(png, 'parameters', settings(picture, origin));
}

/** The prompt, then one line of settings, as other studios write and read them. */
function settings({ width, height, seed }, { prompt, steps, model }) {
  const quoted = /[,:\n]/.test(model) ? JSON.stringify(model) : model;
  return `${prompt}\nSteps: ${steps}, Sampler: Euler, Seed: ${seed}, `
    + `Size: ${width}x${height}, Model: ${quoted}`;
}

/** @returns {string} for example "a-red-maple-in-a-blue-pot-seed-42.png" */
export function fileName({ prompt, seed }) {
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ['picture'];
  return `${words.slice(0, 8).join('-').slice(0, 60)}-seed-${seed}.png`;
}

export function savePng(picture) {
  const link = document.createElement('a');
  link.href = picture.url;
  link.download = fileName(picture);
  link.click();
}
