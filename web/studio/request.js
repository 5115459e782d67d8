/** From written fields to a request: numbers checked, or a sentence about the first wrong one. */
import { MAX_STEPS } from '../api/limits.js';
import { say } from './strings.js';

const MAX_COUNT = 16;

const wholeNumber = (text) => (/^\d+$/.test(text.trim()) ? Number(text) : NaN);
const within = (value, most) => value >= 1 && value <= most;

function sideFault(field, value, patch) {
  if (!(value >= patch)) return say.sideTooSmall(field, patch);
  if (value % patch !== 0) return say.sideNotMultiple(field, value, patch);
  return '';
}

function seedFault(seed, count) {
  if (!Number.isSafeInteger(seed)) return say.seedWrong;
  const fits = seed <= Number.MAX_SAFE_INTEGER - (count - 1); // the sum itself would be rounded
  return count > 1 && !fits ? say.seedsWrong(count) : '';
}

/**
 * @param {{prompt: string, seed: string, width: string, height: string, steps: string,
 *   count: string}} form
 * @param {number} patch width and height must be multiples of this
 * @returns {{ request?: { prompt: string, seed: number, width: number, height: number,
 *   steps: number }, count?: number, field?: string, message?: string }} a request and how often it
 *   is to be drawn, or the field that is wrong and what to say of it
 */
export function readRequest(form, patch) {
  const prompt = form.prompt.trim();
  const [seed, width, height, steps, count] = ['seed', 'width', 'height', 'steps', 'count']
    .map((name) => wholeNumber(form[name]));
  const faults = {
    prompt: prompt ? '' : say.promptMissing,
    width: sideFault('width', width, patch),
    height: sideFault('height', height, patch),
    seed: seedFault(seed, count),
    steps: within(steps, MAX_STEPS) ? '' : say.stepsWrong(MAX_STEPS),
    count: within(count, MAX_COUNT) ? '' : say.countWrong(MAX_COUNT),
  };
  const field = Object.keys(faults).find((name) => faults[name]);
  if (field) return { field, message: faults[field] };
  return { request: { prompt, seed, width, height, steps }, count };
}

/** @returns {boolean} the text says a value of this field, if perhaps none that can be drawn */
export function isWritten(field, text) {
  return field === 'prompt' || wholeNumber(text) >= (field === 'seed' ? 0 : 1);
}

/** @returns {number} a seed between 0 and 999 999, short enough to read out */
export function rollSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
}
