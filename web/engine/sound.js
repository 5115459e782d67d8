/** Whether what a device computed can be what was asked for: numbers, and a picture. */
import { WrongResultError } from './errors.js';

const REMEDY = 'The picture was not kept. Draw it again with the safe kernels, which are plainer '
  + 'and slower; if they go wrong as well, update the graphics driver and the browser, or use '
  + 'another one.';

/** An error that says what went wrong, and what can be done. */
export function wrongResult(what) {
  return new WrongResultError(`${what} ${REMEDY}`);
}

/**
 * @param {string} name what they are, in the plural
 * @param {Float32Array} values
 * @returns {Float32Array} the same
 * @throws {WrongResultError} one is NaN or infinite
 */
export function expectFinite(name, values) {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return values;
  throw wrongResult(`The device went wrong while drawing: its ${name} are no numbers `
    + `(element ${at} of ${values.length} is ${values[at]}).`);
}

/**
 * A picture of one colour alone is refused, whatever it shows: a dark one is never that even.
 * @param {Uint8ClampedArray} rgba with an alpha below 255 where a colour was no number
 * @throws {WrongResultError}
 */
export function expectPicture(rgba) {
  const pixels = new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4);
  const clear = pixels.findIndex((_, i) => rgba[4 * i + 3] !== 255);
  if (clear >= 0) {
    throw wrongResult('The device went wrong while drawing: colours of the picture are no numbers '
      + `(pixel ${clear} of ${pixels.length}).`);
  }
  if (pixels.length > 1 && pixels.every((pixel) => pixel === pixels[0])) {
    throw wrongResult('The device went wrong while drawing: the whole picture is of one colour '
      + `(${rgba.subarray(0, 3).join(', ')}).`);
  }
}
