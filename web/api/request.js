/** What may be asked of a pipeline; everything else is an InputError that says what may. */
import { InputError } from '../engine/errors.js';

export const MEMORY = ['auto', 'small'];
export const TEXT_TOKENS = ['padded', 'trimmed'];
export const MAX_STEPS = 50;

/**
 * @param {object} manifest
 * @param {object} request complete: defaults filled in
 * @throws {InputError}
 */
export function checkRequest(manifest, { prompt, seed, width, height, steps, textTokens }) {
  checkChoice('textTokens', textTokens, TEXT_TOKENS);
  if (typeof prompt !== 'string') {
    throw new InputError(`prompt is a ${typeof prompt}, expected a string`);
  }
  if (!(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new InputError(`seed is ${seed}, `
      + `expected a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  checkSteps(steps);
  checkSize(manifest, width, height);
}

/** @throws {InputError} */
export function checkSize({ patch }, width, height) {
  for (const [name, value] of Object.entries({ width, height })) {
    if (!(Number.isInteger(value) && value > 0 && value % patch === 0)) {
      const below = Math.max(patch, Math.floor(value / patch) * patch) || patch;
      throw new InputError(`${name} is ${value}, expected a multiple of ${patch}: `
        + `${below} or ${below + patch}`);
    }
  }
}

/** @throws {InputError} */
export function checkSteps(steps) {
  if (!(Number.isInteger(steps) && steps >= 1 && steps <= MAX_STEPS)) {
    throw new InputError(`steps is ${steps}, expected a whole number from 1 to ${MAX_STEPS}`);
  }
}

/** @throws {InputError} naming what may be chosen */
export function checkChoice(name, value, choices) {
  if (!choices.includes(value)) {
    throw new InputError(`${name} is ${JSON.stringify(value)}, `
      + `expected one of ${choices.join(', ')}`);
  }
}

/**
 * How much of a picture is done, not counting a download: a tenth for text and images, a seventh
 * for the decoder, steps between.
 */
export function fractionOf({ stage, step, steps }) {
  const denoise = 0.1 + 0.75 * step / steps;
  return { download: 0, encode: 0, reference: 0.05, denoise, decode: 0.85 }[stage];
}
