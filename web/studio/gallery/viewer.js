/** The viewer: one picture large, its settings, and another laid over it. */

import { fileName, saveAs } from '../picture.js';
import { rollSeed } from '../request.js';
import { gallery as say } from '../strings.js';
import { byId } from '../view/document.js';
import { copyImage, copyText, linkTo } from './share.js';
import { set, state } from './state.js';

const SINGLE = { choosing: false, other: null, border: 50, link: '' };

let gallery = null; // what listenInViewer was given

// ---- which picture

let wish = 0; // counts what was asked for; what is read too late is not shown

/**
 * Reads a picture, then shows it, unless something else was asked for meanwhile.
 * @param {(picture: { entry: import('./store.js').Entry, url: string }) => void} show
 * @returns {Promise<boolean>} false: it is no longer there
 */
async function load(id, show) {
  const mine = ++wish;
  const entry = state.entries.find((one) => one.id === id);
  const blob = entry && await gallery.file(id).catch(() => null);
  if (blob && mine === wish) show({ entry, url: URL.createObjectURL(blob) });
  return Boolean(blob);
}

function release(...pictures) {
  for (const picture of pictures) if (picture) URL.revokeObjectURL(picture.url);
}

/** @returns {Promise<boolean>} false: the picture is no longer there */
export function showPicture(id) {
  return load(id, (picture) => {
    const { open, other } = state;
    set({ ...SINGLE, open: picture, current: id });
    release(open, other);
    const place = state.entries.findIndex((entry) => entry.id === id) + 1;
    const { prompt } = picture.entry.settings;
    if (open) readOut(say.opened(place, state.entries.length, prompt)); // else the title is read
  });
}

/** The page's own live region lies outside of the dialog and is silent. */
function readOut(sentence) {
  byId('viewer-live').textContent = sentence;
}

async function step(by) {
  const place = state.entries.findIndex(({ id }) => id === state.open.entry.id);
  const next = state.entries[place + by];
  if (next && !await showPicture(next.id)) gallery.tell(say.gone);
}

export function closeViewer() {
  if (!state.open) return;
  wish += 1;
  const { open, other } = state;
  if (document.fullscreenElement) document.exitFullscreen();
  set({ ...SINGLE, open: null, full: false });
  release(open, other);
  gallery.onClosed(open.entry.id);
}

// ---- what can be done with it

function reuse() {
  const { settings } = state.open.entry;
  closeViewer();
  gallery.onReuse(settings);
  gallery.tell(say.reused);
}

function vary() {
  const { settings } = state.open.entry;
  closeViewer();
  gallery.onVary({ ...settings, seed: rollSeed() });
}

function download() {
  saveAs(state.open.url, fileName(state.open.entry.settings));
}

async function copyPicture() {
  const copied = await copyImage(gallery.file(state.open.entry.id));
  gallery.tell(copied ? say.imageCopied : say.imageRefused);
}

async function copyLink() {
  const link = linkTo(state.open.entry.settings);
  const copied = await copyText(link);
  set({ link: copied ? '' : link });
  gallery.tell(copied ? say.linkCopied : say.linkRefused);
  if (!copied) byId('viewer-link').select();
}

async function toggleFull() {
  const body = byId('viewer-body');
  if (document.fullscreenElement) return document.exitFullscreen();
  const refused = () => set({ full: !state.full });
  if (state.full || !document.fullscreenEnabled) return refused();
  return body.requestFullscreen().catch(refused);
}

// ---- two pictures

function choose() {
  if (byId('compare-with').ariaDisabled === 'true') return;
  set({ ...SINGLE, choosing: true });
  byId('others-title').focus();
  readOut(say.chooseOther);
}

export async function compareWith(id) {
  const there = await load(id, (other) => {
    set({ choosing: false, other });
    byId('border').focus();
    readOut(say.comparing);
  });
  if (!there) gallery.tell(say.gone);
}

function stopComparing() {
  wish += 1;
  const { other } = state;
  set(SINGLE);
  release(other);
  byId('compare-with').focus();
}

/** Dragging over the pictures moves the border, as the slider does. */
function drag(event) {
  if (event.type === 'pointermove' && !event.buttons) return;
  const { left, width } = byId('layers').getBoundingClientRect();
  const percent = Math.round(100 * (event.clientX - left) / width);
  set({ border: Math.min(100, Math.max(0, percent)) });
}

// ---- wiring

const remove = () => gallery.remove(state.open.entry.id);

/** Keys while one picture is shown; Escape closes the dialog by itself. */
const KEYS = {
  arrowleft: () => step(-1),
  arrowright: () => step(1),
  delete: remove,
  f: toggleFull,
  u: reuse,
  v: vary,
  c: choose,
  d: download,
};
/** And while another is chosen or compared with. */
const KEYS_OF_TWO = { escape: stopComparing, f: toggleFull };

function onKey(event) {
  event.stopPropagation(); // the studio's own keys are not meant here
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const key = event.key.toLowerCase();
  const single = !state.choosing && !state.other;
  const act = single ? KEYS[key] : KEYS_OF_TWO[key];
  if (!act || (event.target.matches('input') && key !== 'escape')) return;
  event.preventDefault(); // the letter is not to be typed where the focus goes
  act();
}

/**
 * @param {object} given what the gallery and the studio do for the viewer
 * @param {(id: string) => Promise<Blob>} given.file
 * @param {(id: string) => void} given.remove
 * @param {(sentence: string) => void} given.tell
 * @param {(id: string) => void} given.onClosed the picture that was shown last
 * @param {(settings: object) => void} given.onReuse
 * @param {(settings: object) => void} given.onVary
 */
export function listenInViewer(given) {
  gallery = given;
  const press = (id, action) => byId(id).addEventListener('click', action);
  press('previous', () => step(-1));
  press('next', () => step(1));
  press('viewer-close', closeViewer);
  press('viewer-full', toggleFull);
  press('reuse', reuse);
  press('vary', vary);
  press('compare-with', choose);
  press('viewer-download', download);
  press('copy-image', copyPicture);
  press('copy-link', copyLink);
  press('viewer-delete', remove);
  press('stop-comparing', stopComparing);
  byId('border').addEventListener('input', () => set({ border: Number(byId('border').value) }));
  for (const type of ['pointerdown', 'pointermove']) byId('layers').addEventListener(type, drag);
  const viewer = byId('viewer');
  viewer.addEventListener('keydown', onKey);
  viewer.addEventListener('close', closeViewer);
  viewer.addEventListener('click', ({ target }) => target === viewer && closeViewer());
  document.addEventListener('fullscreenchange', () => {
    set({ full: Boolean(document.fullscreenElement) });
  });
}
