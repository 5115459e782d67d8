/**
 * The settings of a picture, as text in its PNG file.
 *
 *   trefoil      JSON: { prompt, seed, width, height, steps, model, precision, version }
 *   parameters   the infotext of infotext.js, which other studios write and read as well
 */

import { MAX_STEPS } from '../api/limits.js';
import { parseInfotext, writeInfotext } from './infotext.js';
import { readTexts } from './png.js';
import { metadata as say } from './strings.js';

const OWN = 'trefoil';
const INFOTEXT = 'parameters';
const LARGEST_FILE = 2 ** 28; // bytes; read into memory as a whole

/**
 * What a picture was drawn by.
 * @typedef {{ prompt: string, seed: number, width: number, height: number, steps: number,
 *   model?: string, precision?: string, version?: string }} Settings
 */

// ---- writing

/**
 * @param {Settings} settings
 * @returns {Record<string, string>} text by keyword
 */
export function textsOf(settings) {
  return { [INFOTEXT]: infotext(settings), [OWN]: JSON.stringify(settings) };
}

/** @param {Settings} settings */
function infotext({ prompt, seed, width, height, steps, model, version }) {
  return writeInfotext({ prompt, pairs: {
    Steps: steps, Sampler: 'Euler', 'CFG scale': 1, Seed: seed, Size: `${width}x${height}`,
    Model: model, Version: version,
  } });
}

// ---- reading

/**
 * @param {Blob} file anything that a visitor may offer
 * @param {number} patch width and height are multiples of this
 * @returns {Promise<{ settings?: Partial<Settings>, notes?: string[], fault?: string }>} settings:
 *   those of prompt, seed, width, height and steps that were found and can be drawn; notes: what
 *   was changed, left out or not found; fault: why there are none
 */
export async function settingsIn(file, patch) {
  if (file.size > LARGEST_FILE) return { fault: say.tooLarge };
  const read = await readTexts(file, [OWN, INFOTEXT]);
  if (!read) return { fault: say.notPng };
  const { texts, damaged } = read;
  const found = parseOwn(texts.get(OWN)) ?? parseInfotext(texts.get(INFOTEXT) ?? '');
  const checked = check(found ?? {}, patch);
  const notes = [...checked.notes, ...damaged ? [say.damaged] : []];
  const empty = Object.keys(checked.settings).length === 0;
  if (empty) return { fault: [damaged ? say.damagedWithout : say.without, ...checked.notes].join(' ') };
  return { settings: checked.settings, notes };
}

/** @returns {Record<string, any> | null} as written, unchecked */
function parseOwn(text = '') {
  try {
    const found = JSON.parse(text);
    return typeof found?.prompt === 'string' ? found : null;
  } catch {
    return null;
  }
}

const wholeNumber = (value) => (/^\d+$/.test(value) ? Number(value) : NaN);

/**
 * Takes what can be drawn and says what was changed, left out or not there.
 * @param {Record<string, any>} found
 * @param {number} patch
 */
function check({ prompt, seed, steps, size, width, height, negative }, patch) {
  /** @type {Partial<Settings>} */
  const settings = {};
  const notes = [];
  const absent = [];
  if (prompt) settings.prompt = prompt;
  else absent.push('prompt');
  if (negative) notes.push(say.negative);
  if (Number.isSafeInteger(wholeNumber(seed))) settings.seed = Number(seed);
  else if (seed === undefined) absent.push('seed');
  else notes.push(say.seedRefused(seed));
  const count = wholeNumber(steps);
  if (count >= 1) settings.steps = Math.min(count, MAX_STEPS);
  else if (steps === undefined) absent.push('steps');
  else notes.push(say.refused('number of steps', steps));
  if (count > MAX_STEPS) notes.push(say.stepsLowered(steps, MAX_STEPS));
  const sides = [width, height].map(wholeNumber);
  if (sides.every((side) => side >= 1)) {
    const rounded = sides.map((side) => Math.max(1, Math.round(side / patch)) * patch);
    [settings.width, settings.height] = rounded;
    if (rounded.join() !== sides.join()) notes.push(say.sizeRounded(sides, rounded, patch));
  } else if (size === undefined && width === undefined) {
    absent.push('size');
  } else {
    notes.push(say.refused('size', size ?? `${width}x${height}`));
  }
  if (absent.length && Object.keys(settings).length) notes.push(say.absent(absent));
  return { settings, notes };
}
