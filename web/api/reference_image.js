/**
 * Reference images before they are encoded: what may be given, and how its pixels are read.
 * Reference: diffusers' Flux2ImageProcessor, and Pillow's resize of 8-bit pixels.
 */
import { InputError } from '../engine/errors.js';

export const LEAST_SIDE = 64;
const MOST_ASPECT = 8;
const MOST_PIXELS = 1024 ** 2; // larger ones are made smaller

/** Of Pillow's weights, which are whole numbers: 2^22 is one. */
const ONE = 2 ** 22;
const LOBES = 3;

/**
 * Pixels r g b a, row by row; a is not looked at.
 * @typedef {{ width: number, height: number, rgba: Uint8ClampedArray | Uint8Array }} Image
 */

/**
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {Image[]} images
 * @param {{ pixels?: boolean }} options pixels: they are needed, not only sizes
 * @throws {InputError}
 */
export function checkImages({ pipeline: { image_input: input } }, images, { pixels = true } = {}) {
  if (!Array.isArray(images)) {
    throw new InputError(`images is a ${typeof images}, expected an array`);
  }
  if (images.length && !input) {
    throw new InputError('This model was built without image input, so it draws from no reference '
      + 'image. Build it with --with-image-input.');
  }
  if (images.length > input?.most) {
    throw new InputError(`${images.length} reference images were given, expected at most `
      + `${input.most}`);
  }
  images.forEach((image, i) => checkImage(image, `reference image ${i + 1}`, pixels));
}

function checkImage(image, name, pixels) {
  const { width, height, rgba } = image ?? {};
  if (![width, height].every((side) => Number.isInteger(side) && side > 0)) {
    throw new InputError(`${name} is ${width} x ${height}, expected whole numbers of pixels`);
  }
  if (Math.min(width, height) < LEAST_SIDE) {
    throw new InputError(`${name} is ${width} x ${height}, expected ${LEAST_SIDE} pixels or more `
      + 'on each side');
  }
  if (Math.max(width, height) > MOST_ASPECT * Math.min(width, height)) {
    throw new InputError(`${name} is ${width} x ${height}, expected one side at most `
      + `${MOST_ASPECT} times the other`);
  }
  const bytes = rgba instanceof Uint8ClampedArray || rgba instanceof Uint8Array;
  if (pixels && !(bytes && rgba.length === 4 * width * height)) {
    throw new InputError(`${name} has ${bytes ? `${rgba.length} bytes` : `${rgba} as its rgba`}, `
      + `expected a Uint8ClampedArray of ${4 * width * height}`);
  }
}

/** The size of a picture whose request has none: its first image's, or the model's own. */
export function defaultSize({ latents, pipeline: { width, height } }, [first]) {
  return first ? fittedSize(first, latents.pixels) : { width, height };
}

/**
 * An image as models/draw.js takes it: the size that is read, and its values when they are needed.
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {Image} image
 * @returns {import('../models/families.js').ReferenceImage}
 */
export function readable({ latents: { pixels } }, image) {
  return { ...fittedSize(image, pixels), read: () => prepareImage(image, pixels) };
}

/** How much of an image is read: multiples of `patch`, the edge in pixels of a token. */
export function fittedSize(image, patch) {
  const [width, height] = shrunkSize(image).map((side) => Math.floor(side / patch) * patch);
  return { width, height };
}

function shrunkSize({ width, height }) {
  if (width * height <= MOST_PIXELS) return [width, height];
  const scale = Math.sqrt(MOST_PIXELS / (width * height));
  return [Math.trunc(width * scale), Math.trunc(height * scale)];
}

/**
 * Shrinks an image that is too large and takes its middle.
 * @param {Image} image
 * @returns {Float32Array} [H, W, 3] in -1..1, of `fittedSize`
 */
export function prepareImage(image, patch) {
  const [across, down] = shrunkSize(image);
  const { width, height } = fittedSize(image, patch);
  const { pixels, channels } = across === image.width ? { pixels: image.rgba, channels: 4 }
    : { pixels: shrink(image, across, down), channels: 3 };
  const [left, top] = [across - width >> 1, down - height >> 1];
  const levels = Float32Array.from({ length: 256 }, (_, v) => 2 * Math.fround(v / 255) - 1);
  const values = new Float32Array(3 * width * height);
  for (let at = 0, y = 0; y < height; y++) {
    let from = ((top + y) * across + left) * channels;
    for (let x = 0; x < width; x++, from += channels) {
      for (let c = 0; c < 3; c++) values[at++] = levels[pixels[from + c]];
    }
  }
  return values;
}

/**
 * Lanczos along one side, then the other, rounded to bytes between. Pillow 13 begins with the
 * height where that loses more than twice as many pixels as the width; Pillow 12 never does.
 * @param {Image} image
 * @returns {Image['rgba']} [down, across, 3]
 */
function shrink({ width, height, rgba }, across, down) {
  /** @type {{ pixels: Image['rgba'], width: number, height: number, channels: number }} */
  const source = { pixels: rgba, width, height, channels: 4 };
  const order = height - down > 2 * (width - across) ? [shrinkHeight, shrinkWidth]
    : [shrinkWidth, shrinkHeight];
  return order.reduce((picture, along) => along(picture, across, down), source).pixels;
}

function shrinkWidth({ pixels, width, height, channels }, across) {
  const source = { line: channels * width, step: channels };
  return { width: across, height, channels: 3, pixels: resample(pixels, height,
    lanczosTaps(width, across), source, { line: 3 * across, step: 3 }) };
}

function shrinkHeight({ pixels, width, height, channels }, _, down) {
  const source = { line: channels, step: channels * width };
  return { width, height: down, channels: 3, pixels: resample(pixels, width,
    lanczosTaps(height, down), source, { line: 3, step: 3 * width }) };
}

/**
 * Three channels along lines.
 * @param {{ line: number, step: number }} source how far apart lines, and their pixels, lie
 * @param {{ line: number, step: number }} target likewise
 */
function resample(pixels, lines, taps, source, target) {
  const result = new Uint8ClampedArray(3 * lines * taps.length);
  for (let n = 0; n < lines; n++) {
    taps.forEach(({ first, weights }, i) => {
      let [r, g, b] = [ONE / 2, ONE / 2, ONE / 2];
      let from = n * source.line + first * source.step;
      for (let k = 0; k < weights.length; k++, from += source.step) {
        const weight = weights[k];
        r += weight * pixels[from];
        g += weight * pixels[from + 1];
        b += weight * pixels[from + 2];
      }
      const to = n * target.line + i * target.step;
      result[to] = Math.floor(r / ONE);
      result[to + 1] = Math.floor(g / ONE);
      result[to + 2] = Math.floor(b / ONE);
    });
  }
  return result;
}

/**
 * What each of `to` pixels of a line is made of: weights for the pixels from `first` on.
 * @returns {{ first: number, weights: Int32Array }[]}
 */
function lanczosTaps(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - LOBES * scale + 0.5));
    const past = Math.min(from, Math.trunc(centre + LOBES * scale + 0.5));
    const values = Array.from({ length: past - first },
      (__, k) => lanczos((first + k - centre + 0.5) / scale));
    const total = values.reduce((sum, value) => sum + value);
    return { first, weights: Int32Array.from(values, (value) => (
      Math.trunc(ONE * value / total + (value < 0 ? -0.5 : 0.5)))) };
  });
}

function lanczos(x) {
  return Math.abs(x) < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}
