/** What may be asked of a pipeline; everything else is an InputError that says what may. */
import { InputError } from '../engine/errors.js';
import { MAX_STEPS } from './limits.js';
import { checkImages, defaultSize } from './reference_image.js';

export const MEMORY = ['auto', 'small'];
export const TEXT_TOKENS = ['padded', 'trimmed'];

/**
 * A request with what it leaves open.
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {Record<string, any>} request `generate`'s or `plan`'s
 * @param {{ textTokens: string, memory: string }} defaults as loaded
 * @param {{ pixels?: boolean }} [options] pixels: those of its images are needed
 * @returns {Record<string, any>} guided: it has a negative prompt that matters
 * @throws {InputError} its images or its guidance cannot be had
 */
export function complete(manifest, request, defaults, { pixels = false } = {}) {
  const { prompt, images = [], seed = 0 } = request;
  checkImages(manifest, images, { pixels });
  const size = defaultSize(manifest, images);
  const { width = size.width, height = size.height } = request;
  const { steps = manifest.pipeline.num_inference_steps } = request;
  const { textTokens = defaults.textTokens, memory = defaults.memory } = request;
  return { prompt, images, seed, width, height, steps, textTokens, memory,
    ...guidanceOf(manifest, request) };
}

/**
 * How far the prompt leads, and away from what: as the manifest has guidance.
 * @throws {InputError} the model takes none, or it is no number and no text
 */
function guidanceOf({ pipeline: { guidance, negative_prompt: usual = '' } }, request) {
  const { kind, scale: own, negative } = guidance;
  const { guidanceScale = own, negativePrompt = usual } = request;
  if (request.guidanceScale !== undefined && kind === 'none') {
    throw new InputError(`guidanceScale is ${guidanceScale}, but this model takes none: it draws `
      + 'without guidance. Leave guidanceScale out.');
  }
  if (request.negativePrompt !== undefined && !negative) {
    throw new InputError(`negativePrompt is ${JSON.stringify(negativePrompt)}, but this model `
      + 'takes none: it is not led away from a text. Leave negativePrompt out.');
  }
  if (!(Number.isFinite(guidanceScale) && guidanceScale >= 0)) {
    throw new InputError(`guidanceScale is ${guidanceScale}, expected a number from 0 on`);
  }
  checkText('negativePrompt', negativePrompt);
  return { guidanceScale, negativePrompt, guided: kind === 'cfg' && guidanceScale > 1 };
}

/**
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {Record<string, any>} request complete
 * @throws {InputError}
 */
export function checkPicture(manifest, { prompt, seed, ...request }) {
  checkText('prompt', prompt);
  if (!(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new InputError(`seed is ${seed}, `
      + `expected a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  checkPlan(manifest, request);
}

/**
 * What a picture's memory and files depend on.
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {Record<string, any>} request complete
 * @throws {InputError}
 */
export function checkPlan({ latents: { pixels }, prompts }, { width, height, steps, ...request }) {
  for (const [name, value] of Object.entries({ width, height })) {
    if (!(Number.isInteger(value) && value > 0 && value % pixels === 0)) {
      const below = Math.max(pixels, Math.floor(value / pixels) * pixels) || pixels;
      throw new InputError(`${name} is ${value}, expected a multiple of ${pixels}: `
        + `${below} or ${below + pixels}`);
    }
  }
  if (!(Number.isInteger(steps) && steps >= 1 && steps <= MAX_STEPS)) {
    throw new InputError(`steps is ${steps}, expected a whole number from 1 to ${MAX_STEPS}`);
  }
  checkChoice('memory', request.memory, MEMORY);
  checkTextTokens({ prompts }, request.textTokens);
}

/**
 * @param {{ prompts: { mask: boolean }[] }} manifest
 * @param {string} textTokens
 * @throws {InputError} it is no choice, or none for this model
 */
export function checkTextTokens({ prompts }, textTokens) {
  checkChoice('textTokens', textTokens, TEXT_TOKENS);
  if (textTokens === 'trimmed' && !prompts.every(({ mask }) => mask)) {
    throw new InputError('textTokens is trimmed, but this model reads padding as it reads words: '
      + 'without it, the picture is another one that it was never taught. Leave textTokens out, or '
      + 'ask for padded.');
  }
}

function checkText(name, text) {
  if (typeof text !== 'string') {
    throw new InputError(`${name} is a ${typeof text}, expected a string`);
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
