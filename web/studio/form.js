/** The form: fields, sizes, seed, earlier prompts, and what is kept of it between visits. */

import { askNeeds } from './load.js';
import { isWritten, rollSeed } from './request.js';
import { prompts, readSettings, saveSettings } from './settings.js';
import { set, state } from './state.js';
import { byId } from './view/document.js';
import { FIELDS, IDEAS_SHOWN, OPTIONS } from './view/form.js';
import { applyTheme, chosenTheme } from './theme.js';

/** Fields that a query (?prompt=…&seed=…) or a picture's file may fill. */
const SETTINGS = ['prompt', 'seed', 'width', 'height', 'steps'];

/** Changes fields of the form; a complaint about one of them is answered by that. */
export function edit(fields) {
  const answered = state.error?.field in fields;
  set({ form: { ...state.form, ...fields }, error: answered ? null : state.error });
  askNeeds();
}

/** What the visitor types: a seed that is typed is meant, so it is locked. */
function type(name, value) {
  if (name === 'seed') set({ seedLocked: true });
  if (name === 'prompt') set({ recalled: -1 });
  edit({ [name]: value });
}

function chooseSize(key) {
  if (key === 'custom') {
    set({ customSize: true });
    return byId('width').focus();
  }
  const [width, height] = key.split('x');
  set({ customSize: false });
  edit({ width, height });
}

/** The dice ask for chance, so they open the lock. */
function rollDice() {
  set({ seedLocked: false });
  edit({ seed: String(rollSeed()) });
}

/** Older prompts for -1, newer ones for 1; beyond the newest lies what was being written. */
function recall(direction) {
  const draft = state.recalled < 0 ? state.form.prompt : state.draft;
  const earlier = prompts().filter((prompt) => prompt !== draft);
  const recalled = Math.min(Math.max(state.recalled - direction, -1), earlier.length - 1);
  set({ recalled, draft });
  edit({ prompt: recalled < 0 ? draft : earlier[recalled] });
}

function onPromptKey(event) {
  if (!event.altKey || !['ArrowUp', 'ArrowDown'].includes(event.key)) return;
  event.preventDefault();
  recall(event.key === 'ArrowUp' ? -1 : 1);
}

function chooseOption(name, value) {
  set({ options: { ...state.options, [name]: value } });
}

function chooseTheme(theme) {
  applyTheme(theme);
  set({ theme });
}

/** Puts a picture's settings into the form, as far as they are there; its seed for good or once. */
export function takeOver(settings, seedLocked) {
  const given = SETTINGS.filter((name) => name in settings);
  set({ seedLocked, customSize: false, recalled: -1 });
  edit(Object.fromEntries(given.map((name) => [name, String(settings[name])])));
}

export function listenToForm() {
  for (const name of FIELDS) {
    byId(name).addEventListener('input', () => type(name, byId(name).value));
  }
  for (const name of OPTIONS) {
    byId(name).addEventListener('change', () => chooseOption(name, byId(name).value));
  }
  byId('prompt').addEventListener('keydown', onPromptKey);
  byId('size').addEventListener('change', () => chooseSize(byId('size').value));
  byId('theme').addEventListener('change', () => chooseTheme(byId('theme').value));
  byId('dice').addEventListener('click', rollDice);
  byId('lock').addEventListener('click', () => set({ seedLocked: !state.seedLocked }));
  byId('reset-steps').addEventListener('click', () => edit({ steps: state.defaultSteps }));
  const ideas = document.querySelectorAll('.chip');
  byId('more-ideas')?.addEventListener('click',
    () => set({ firstIdea: (state.firstIdea + IDEAS_SHOWN) % ideas.length }));
  for (const idea of ideas) {
    idea.addEventListener('click', () => type('prompt', idea.textContent));
  }
  byId('earlier-list').addEventListener('click', ({ target }) => {
    const button = /** @type {Element} */ (target).closest('button');
    if (button) type('prompt', button.textContent);
  });
}

/**
 * The page's defaults, then what was kept of the last visit, then the query.
 * @returns {string[]} the query's names whose values are none
 */
export function readForm() {
  const query = new URLSearchParams(location.search);
  const { form: kept = {}, seedLocked = false } = readSettings();
  const same = kept.model === state.name; // sizes and steps of another model mean little here
  const names = same ? FIELDS : ['prompt'];
  const form = Object.fromEntries(FIELDS.map((name) => [name, byId(name).defaultValue]));
  for (const name of names) if (name in kept) form[name] = kept[name];
  const asked = SETTINGS.filter((name) => query.has(name));
  const meant = asked.filter((name) => isWritten(name, query.get(name)));
  const locked = meant.includes('seed') || (same && seedLocked);
  if (!locked) form.seed = String(rollSeed());
  for (const name of meant) form[name] = query.get(name);
  const listed = [...byId('size').options].filter((option) => option.value !== 'custom');
  set({
    form, seedLocked: locked, theme: chosenTheme(), prompts: prompts(),
    options: { ...state.options, ...offered(kept) },
    defaultSteps: byId('steps').defaultValue,
    sizes: listed.map((option) => option.value.split('x').map(Number)),
    peaks: listedBy(listed, 'peak'),
    flops: listedBy(listed, 'flop'),
    patch: Number(byId('width').step),
    drawNext: query.has('run'),
  });
  return asked.filter((name) => !meant.includes(name));
}

/** What the page was told of each listed size, "512x512" -> number. */
function listedBy(options, name) {
  return Object.fromEntries(options.map(({ value, dataset }) => [value, Number(dataset[name])]));
}

/** Of the kept options those that this page offers. */
function offered(kept) {
  const has = (name) => [...byId(name).options].some(({ value }) => value === kept[name]);
  return Object.fromEntries(OPTIONS.filter(has).map((name) => [name, kept[name]]));
}

/** Whether this page offers more than one value: what it does not is another model's. */
const isChoice = (name) => byId(name).options.length > 1;

let saved = {};

/** Follows the state: what the visitor set is there again at the next visit. */
export function keepForm({ form, options, theme, seedLocked, name }) {
  const now = { form, options, theme, seedLocked };
  if (Object.keys(now).every((key) => saved[key] === now[key])) return;
  saved = now;
  const kept = Object.fromEntries(OPTIONS.filter(isChoice).map((one) => [one, options[one]]));
  const all = { ...readSettings().form, ...form, ...kept, model: name };
  saveSettings({ form: all, theme, seedLocked });
}
