/**
 * What the page remembers of its visitor, in localStorage: settings and the prompts of late.
 * Where that is refused it remembers until it is closed. A value that does not fit is forgotten.
 */

const KEY = 'trefoil-settings';
const VERSION = 1; // of what stands under KEY; another one is not read
const MOST_PROMPTS = 50;

const text = (value) => typeof value === 'string';
const flag = (value) => typeof value === 'boolean';
const oneOf = (...values) => (value) => values.includes(value);
const texts = (value) => Array.isArray(value) && value.every(text);
const fields = (value) => value?.constructor === Object && Object.values(value).every(text);

/** What can be remembered, and how each value must look. */
const FITS = {
  form: fields, // the form's fields as they are written
  theme: oneOf('system', 'light', 'dark'),
  seedLocked: flag,
  gallery: oneOf('recent', 'all'), // how many of the pictures are shown
  prompts: texts, // newest first
  rates: (value) => value?.constructor === Object && text(value.adapter), // of rate.js
};

let remembered = {}; // where localStorage is refused or full

function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY));
    return stored?.version === VERSION ? stored : remembered;
  } catch {
    return remembered;
  }
}

/** @returns {{ form?, theme?, seedLocked?, gallery?, prompts?, rates? }} what is there and fits */
export function readSettings() {
  const fitting = Object.entries(read()).filter(([name, value]) => FITS[name]?.(value));
  return Object.fromEntries(fitting);
}

/** Changes some settings; another tab's changes of others stay. */
export function saveSettings(patch) {
  remembered = { ...readSettings(), ...patch };
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...remembered, version: VERSION }));
  } catch { /* refused or full: remembered until the page is closed */ }
}

/** @returns {string[]} the prompts of late, newest first, none twice */
export function prompts() {
  return readSettings().prompts ?? [];
}

export function pushPrompt(prompt) {
  const others = prompts().filter((other) => other !== prompt);
  saveSettings({ prompts: [prompt, ...others].slice(0, MOST_PROMPTS) });
}
