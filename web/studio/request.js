/** From written fields to a request: numbers checked, or a sentence about the first wrong one. */

import { say } from './strings.js';

export const MAX_STEPS = 50;

const wholeNumber = (text) => (/^\d+$/.test(text.trim()) ? Number(text) : NaN);

function sideFault(field, value, patch) {
  if (!(value >= patch)) return say.sideTooSmall(field, patch);
  if (value % patch !== 0) return say.sideNotMultiple(field, value, patch);
  return '';
}

/**
 * @param {{prompt: string, seed: string, width: string, height: string, steps: string}} form
 * @param {number} patch width and height must be multiples of this
 * @returns {{request: object} | {field: string, message: string}}
 */
export function readRequest(form, patch) {
  const prompt = form.prompt.trim();
  const [seed, width, height, steps] = ['seed', 'width', 'height', 'steps']
    .map((name) => wholeNumber(form[name]));
  const faults = {
    prompt: prompt ? '' : say.promptMissing,
    width: sideFault('width', width, patch),
    height: sideFault('height', height, patch),
    seed: Number.isSafeInteger(seed) ? '' : say.seedWrong,
    steps: steps >= 1 && steps <= MAX_STEPS ? '' : say.stepsWrong(MAX_STEPS),
  };
  const field = Object.keys(faults).find((name) => faults[name]);
  if (field) return { field, message: faults[field] };
  return { request: { prompt, seed, width, height, steps } };
}

/** @returns {number} a seed between 0 and 999 999, short enough to read out */
export function rollSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
}
