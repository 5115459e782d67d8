/** The gallery below the picture: what the visitor does there, each turned into a state. */

import { saveAs } from '../picture.js';
import { readSettings, saveSettings } from '../settings.js';
import { gallery as say } from '../strings.js';
import { byId } from '../view/document.js';
import { listenForFiles } from './receive.js';
import { packAll } from './share.js';
import { set, state } from './state.js';
import { newestFirst, openGallery } from './store.js';
import { makeThumbnail } from './thumbnail.js';
import { focusThumb, makeLists, shownEntries } from './view.js';
import { closeViewer, compareWith, listenInViewer, showPicture } from './viewer.js';

const TOLD_MS = 12_000; // how long a sentence and its Undo stay, unless they are being used

let store = null; // the promise of a Gallery
let announce = null;
let turn = Promise.resolve(); // when the last change of the list is done

/**
 * Starts the gallery of the page that has parts/gallery.html.
 * @param {object} studio
 * @param {(settings: object) => void} studio.onReuse fill the form with those of prompt, seed,
 *   width, height and steps that are there; numbers, the prompt apart
 * @param {(settings: object) => void} studio.onVary fill the form and draw
 * @param {(text: string) => void} studio.announce into the page's polite live region
 * @param {() => number} studio.patch width and height are multiples of this
 * @returns {{ add(settings: object, blob: Blob): Promise<void>, tell(sentence: string): void }}
 *   settings: what metadata.js writes; tell: shows a sentence for a while and has it read out
 */
export function startGallery(studio) {
  announce = studio.announce;
  store = openGallery();
  const read = async (id) => (await store).thumbnail(id);
  makeLists(read, {
    gallery: { onOpen: openPicture, onDelete: remove, onMove: (id) => set({ current: id }) },
    others: { onOpen: compareWith },
  });
  set({ shown: readSettings().gallery ?? 'recent' });
  listen();
  listenInViewer({ ...studio, file, remove, tell, onClosed });
  listenForFiles({ ...studio, tell });
  store.then((gallery) => gallery.watch(follow));
  readList();
  return { add, tell };
}

const file = async (id) => (await store).file(id);

/** One change of the list after the other, so that none is made to an older list. */
function inTurn(change) {
  const mine = turn.then(change);
  turn = mine.catch(() => {});
  return mine;
}

/** Reads the list, at the start. */
const readList = () => inTurn(async () => {
  const gallery = await store;
  set({ entries: await gallery.list(), kept: gallery.kept });
});

/** Another tab has changed what is kept; what is in this page's memory stays. */
const follow = ({ added, removed, cleared }) => inTurn(async () => {
  const gone = ({ id, kept }) => id === (added?.id ?? removed) || (cleared && kept);
  const entries = state.entries.filter((entry) => !gone(entry));
  set({ entries: [...entries, ...added ? [added] : []].sort(newestFirst) });
  if (state.open && !state.entries.some(({ id }) => id === state.open.entry.id)) closeViewer();
});

const add = (settings, blob) => inTurn(async () => {
  const small = await makeThumbnail(blob).catch(() => null);
  const entry = await (await store).add({ blob, thumbnail: small ?? blob, settings });
  set({ entries: [entry, ...state.entries] });
  if (!small) tell(say.notShrunk);
});

async function openPicture(id) {
  if (!await showPicture(id)) tell(say.gone);
}

// ---- what is told, and undone

let timer = 0;

/** Shows a sentence for a while and has it read out; `removed` is what Undo then brings back. */
function tell(sentence, removed = []) {
  set({ told: sentence, removed });
  const undoable = removed.length ? ` ${say.undoable}` : '';
  announceAnywhere(sentence + undoable);
  holdToast();
}

/** What lies outside of an open dialog is not read out. */
function announceAnywhere(sentence) {
  if (state.open) byId('viewer-live').textContent = sentence;
  else announce(sentence);
}

function holdToast() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const used = byId('toast').matches(':hover, :focus-within');
    if (used) holdToast();
    else set({ told: '', removed: [] });
  }, TOLD_MS);
}

/** Deletes a picture; its neighbour is shown in its place, or has the focus. */
const remove = (id) => inTurn(async () => {
  const place = state.entries.findIndex((entry) => entry.id === id);
  if (place < 0) return;
  const picture = await (await store).remove(id);
  const entries = state.entries.filter((entry) => entry.id !== id);
  set({ entries });
  const next = (entries[place] ?? entries[place - 1])?.id;
  if (state.open && !(next && await showPicture(next))) closeViewer();
  if (!state.open) focusOn(next);
  const removed = [...state.removed, ...picture ? [picture] : []];
  tell(say.deleted(removed.length), removed);
});

const undo = () => inTurn(async () => {
  const { removed } = state;
  if (!removed.length) return; // pressed twice
  const gallery = await store;
  for (const picture of removed) await gallery.add(picture);
  set({ entries: await gallery.list() });
  const { id } = removed.at(-1);
  if (state.open) {
    await showPicture(id);
    byId('viewer-delete').focus();
  } else {
    focusOn(id);
  }
  tell(say.restored(removed.length));
});

function focusOn(id) {
  if (!focusThumb(id)) byId('gallery-title').focus();
}

// ---- all of them

const clear = () => inTurn(async () => {
  set({ asking: false });
  await (await store).clear();
  set({ entries: [] });
  byId('gallery-title').focus();
  tell(say.cleared);
});

async function downloadAll() {
  if (state.packing) return;
  const count = state.entries.length;
  set({ packing: true });
  tell(say.packing(count));
  const { zip, lost } = await packAll(state.entries, file)
    .catch(() => ({ zip: null, lost: count }));
  set({ packing: false });
  if (zip) {
    const url = URL.createObjectURL(zip);
    saveAs(url, 'trefoil-gallery.zip');
    setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser is still copying
  }
  tell(lost ? say.packedWithout(count - lost, lost) : say.packed(count));
}

function toggleShown() {
  const shown = state.shown === 'all' ? 'recent' : 'all';
  saveSettings({ gallery: shown });
  set({ shown });
}

/** The thumbnail of what was in the viewer has the focus again. */
function onClosed(id) {
  const ids = shownEntries(state).map((entry) => entry.id);
  focusOn(ids.includes(id) ? id : ids.at(-1));
}

function listen() {
  const press = (id, action) => byId(id).addEventListener('click', action);
  press('undo', undo);
  press('download-all', downloadAll);
  press('show-all', toggleShown);
  press('clear-gallery', () => set({ asking: true }));
  press('clear-no', () => set({ asking: false }));
  press('clear-yes', clear);
  byId('clear-question').addEventListener('close', () => set({ asking: false }));
  byId('clear-question').addEventListener('keydown', (event) => event.stopPropagation());
}
