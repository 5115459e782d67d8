/**
 * The settings of a picture, as text in its PNG file.
 *
 *   trefoil      JSON: { prompt, seed, width, height, steps, model, precision, version }
 *   parameters   the prompt's lines, then "Steps: 4, Sampler: Euler, ...": the infotext of
 *                AUTOMATIC1111's web UI, which other studios write and read as well
 */

import { readTexts } from './png.js';
import { MAX_STEPS } from './request.js';
import { metadata as say } from './strings.js';

const OWN = 'trefoil';
const INFOTEXT = 'parameters';
const LARGEST_FILE = 2 ** 28; // bytes; read into memory as a whole
const FEWEST_PAIRS = 3; // with fewer the last line belongs to the prompt
const PAIR = /(\w[\w /-]{0,40}):\s*("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)/g;

// ---- writing

/**
 * @param {object} settings prompt, seed, width, height, steps, model, precision, version
 * @returns {Record<string, string>} text by keyword
 */
export function textsOf(settings) {
  return { [INFOTEXT]: infotext(settings), [OWN]: JSON.stringify(settings) };
}

function infotext({ prompt, seed, width, height, steps, model, version }) {
  const pairs = {
    Steps: steps, Sampler: 'Euler', 'CFG scale': 1, Seed: seed, Size: `${width}x${height}`,
    Model: model, Version: version,
  };
  const line = Object.entries(pairs).map(([key, value]) => `${key}: ${quoted(String(value))}`);
  return `${prompt}\n${line.join(', ')}`;
}

const quoted = (value) => (/[,:\n]/.test(value) ? JSON.stringify(value) : value);

function unquoted(value) {
  try {
    return value.startsWith('"') ? JSON.parse(value) : value.trim();
  } catch {
    return value;
  }
}

// ---- reading

/**
 * @param {Blob} file anything that a visitor may offer
 * @param {number} patch width and height are multiples of this
 * @returns {Promise<{ settings: object, notes: string[] } | { fault: string }>} settings: those of
 *   prompt, seed, width, height and steps that were found and can be drawn; notes: what was changed
 */
export async function settingsIn(file, patch) {
  if (file.size > LARGEST_FILE) return { fault: say.tooLarge };
  const read = await readTexts(file, [OWN, INFOTEXT]);
  if (!read) return { fault: say.notPng };
  const { texts, damaged } = read;
  const found = parseOwn(texts.get(OWN)) ?? parseInfotext(texts.get(INFOTEXT));
  const checked = check(found ?? {}, patch);
  const notes = [...checked.notes, ...damaged ? [say.damaged] : []];
  const empty = Object.keys(checked.settings).length === 0;
  if (empty) return { fault: [damaged ? say.damagedWithout : say.without, ...checked.notes].join(' ') };
  return { settings: checked.settings, notes };
}

/** @returns {object | null} as written, unchecked */
function parseOwn(text = '') {
  try {
    const found = JSON.parse(text);
    return typeof found?.prompt === 'string' ? found : null;
  } catch {
    return null;
  }
}

/** @returns {object | null} prompt and, as strings, what the last line tells */
function parseInfotext(text = '') {
  const lines = text.trim().split(/\r?\n/);
  const pairs = [...lines.pop().matchAll(PAIR)];
  if (pairs.length < FEWEST_PAIRS) return null;
  const told = Object.fromEntries(pairs.map(([, key, value]) => [key, unquoted(value)]));
  const negative = lines.findIndex((line) => line.trimStart().startsWith('Negative prompt:'));
  const prompt = negative < 0 ? lines : lines.slice(0, negative);
  const [, width, height] = /^(\d+)x(\d+)$/.exec(told.Size) ?? [];
  return {
    prompt: prompt.join('\n').trim(), seed: told.Seed, steps: told.Steps, width, height,
    negative: negative >= 0,
  };
}

const wholeNumber = (value) => (/^\d+$/.test(value) ? Number(value) : NaN);

/** Takes what can be drawn and says what was changed or left out. */
function check({ prompt, seed, steps, width, height, negative }, patch) {
  const settings = {};
  const notes = [];
  if (prompt) settings.prompt = prompt;
  if (negative) notes.push(say.negative);
  if (Number.isSafeInteger(wholeNumber(seed))) settings.seed = Number(seed);
  else if (seed !== undefined) notes.push(say.seedRefused(seed));
  const count = wholeNumber(steps);
  if (count >= 1) settings.steps = Math.min(count, MAX_STEPS);
  if (count > MAX_STEPS) notes.push(say.stepsLowered(steps, MAX_STEPS));
  const sides = [width, height].map(wholeNumber);
  if (sides.every((side) => side >= 1)) {
    const rounded = sides.map((side) => Math.max(1, Math.round(side / patch)) * patch);
    [settings.width, settings.height] = rounded;
    if (rounded.join() !== sides.join()) notes.push(say.sizeRounded(sides, rounded, patch));
  }
  return { settings, notes };
}
