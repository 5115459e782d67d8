/** The studio: the parts put together, and what concerns them all. */

import { startWorker } from './client.js';
import { cancel, deliverTo, draw, drawAgain, drawCancelled, drawIfAsked, drawProgress, drawSays }
  from './draw.js';
import { keepForm, listenToForm, readForm, takeOver } from './form.js';
import { startGallery } from './gallery/main.js';
import { listenToImages } from './images.js';
import { askStored, deleteModel, inspect, keepStored, load, loadAsked, loadCancelled, loadProgress,
  loadSays, noteStorage, pauseOrResume } from './load.js';
import { keepShell } from './offline.js';
import { savePng } from './picture.js';
import { UNASKED_BYTES, canDelete, drawsFromGraphs, fail, follow, isUsable, set, state }
  from './state.js';
import { deleteQuestion, say, unfinishedText } from './strings.js';
import { findUnfinished, noteWork } from './unfinished.js';
import { announce, render } from './view.js';
import { byId, write } from './view/document.js';
import { keepAwake } from './wake.js';

/** Errors that the engine survives; after any other it is started anew. */
const HARMLESS = [
  'InputError', 'DownloadError', 'UpdatedError', 'ModelError', 'UnsupportedError',
  'WrongResultError',
];

/** Nothing begins before it is known how the last attempt ended. */
const lastTime = findUnfinished().then((unfinished) => {
  set({ unfinished });
  if (unfinished) announce(unfinishedText(unfinished));
});

function restart() {
  set({ phase: 'checking', error: null, info: null, loadedWith: null, download: null,
    drawing: null, preview: null, needs: null });
  startWorker(workerSays);
  inspect();
}

/** Small models come unasked, and large ones that are here already; unless the last attempt ended
 * badly. */
function beginUnasked() {
  const { phase, unfinished, drawNext, modelBytes, stored } = state;
  const here = drawNext ? stored?.bytes ?? 0 : 0;
  if (phase === 'idle' && !unfinished && modelBytes - here <= UNASKED_BYTES) load();
}

const workerSays = {
  ...loadSays,
  ...drawSays,

  async device(message) {
    await lastTime;
    loadSays.device(message);
    if (!message.device.silent) beginUnasked();
  },

  progress({ job, progress }) {
    noteStorage(progress);
    if (job === 'load') loadProgress(progress);
    else drawProgress(progress);
  },

  loaded(message) {
    loadSays.loaded(message);
    drawIfAsked();
    keepShell();
  },

  cancelled(message) {
    if (message.job === 'load') loadCancelled(message);
    else drawCancelled();
  },

  error(failure) {
    const devices = failure.job === 'load' && state.onnxBytes > 0 && !drawsFromGraphs(state)
      && ['UnsupportedError', 'DeviceError'].includes(failure.name);
    const broken = !HARMLESS.includes(failure.name) && !devices;
    const updated = failure.name === 'UpdatedError';
    const reload = updated ? 'page' : broken && 'engine';
    const error = { message: say.failed(failure), reload, processor: devices };
    if (self.origin === 'null') error.remedy = say.shutOff(location.href);
    if (failure.name === 'WrongResultError') Object.assign(error, waysOn(state));
    const drawing = failure.job === 'generate';
    const before = drawing ? 'ready' : isUsable(state) ? 'idle' : 'unsupported';
    fail(error, { phase: broken ? 'lost' : before, drawNext: false, preview: null,
      loadedWith: drawing ? state.loadedWith : null });
  },
};

/** What is left to draw with after the device went wrong. */
function waysOn({ info, onnxBytes }) {
  const onGraphics = info?.engine === 'webgpu';
  return { safe: onGraphics && !info.safe, processor: onGraphics && onnxBytes > 0 };
}

/** The graphics have all the time that they need, now and when they are opened. */
function waitOn() {
  set({ phase: 'checking', error: null, options: { ...state.options, patienceMs: Infinity } });
  inspect({ patienceMs: Infinity });
}

function drawOnProcessor() {
  set({ modelBytes: state.onnxBytes });
  drawAgain({ engine: 'onnxruntime' });
}

/** What nobody was waiting for: told, while all else goes on. */
function tellFault(fault) {
  if (!fault || fault.name === 'AbortError') return;
  fail({ message: say.fault(fault.message ?? String(fault)) });
}

// ---- wiring

/** Deleting gigabytes is asked once more. */
function confirmDelete() {
  if (!canDelete(state)) return;
  write('confirm-text', deleteQuestion(state));
  byId('confirm').showModal();
}

function onKey(event) {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    draw();
  } else if (event.key === 'Escape' && !document.querySelector('dialog[open]')) {
    cancel();
  }
}

function useLessMemory() {
  set({ options: { ...state.options, memory: 'small' } });
  load();
}

function listen() {
  const press = (id, action) => byId(id).addEventListener('click', action);
  // Frames may be forbidden to submit forms, so none is submitted.
  byId('form').addEventListener('submit', (event) => event.preventDefault());
  byId('form').addEventListener('keydown', ({ key, target, isComposing, ctrlKey, metaKey }) => {
    const alone = key === 'Enter' && !(isComposing || ctrlKey || metaKey);
    if (alone && /** @type {Element} */ (target).matches('input')) draw();
  });
  press('generate', draw);
  document.addEventListener('keydown', onKey);
  document.addEventListener('visibilitychange', askStored);
  press('load', loadAsked);
  press('pause', pauseOrResume);
  press('cancel', cancel);
  press('reload', () => (state.error?.reload === 'page' ? location.reload() : restart()));
  press('wait-on', waitOn);
  press('safe-kernels', () => drawAgain({ kernels: 'safe' }));
  press('processor', drawOnProcessor);
  press('keep', keepStored);
  press('delete', confirmDelete);
  press('confirm-delete', () => {
    byId('confirm').close();
    deleteModel();
  });
  press('confirm-keep', () => byId('confirm').close());
  press('less-memory', useLessMemory);
  press('as-before', load);
  press('save', () => state.picture && state.phase !== 'drawing' && savePng(state.picture));
  byId('technical').addEventListener('toggle', () => render(state));
  addEventListener('unhandledrejection', ({ reason }) => tellFault(reason));
  addEventListener('error', ({ error }) => tellFault(error));
}

if (/Mac|iPhone|iPad/.test(navigator.platform)) byId('shortcut').textContent = '⌘ ↵';
byId('own-tab').href = location.href;
const engine = new URLSearchParams(location.search).get('engine');
if (['webgpu', 'onnxruntime'].includes(engine)) set({ options: { ...state.options, engine } });
const unread = readForm();
for (const follower of [render, keepForm, keepAwake, noteWork]) follow(follower);
listenToForm();
listenToImages();
listen();
const gallery = startGallery({
  onReuse(settings) {
    takeOver(settings, true);
    byId('prompt').focus();
  },
  onVary(settings) {
    takeOver(settings, false);
    byId('generate').focus();
    draw();
  },
  announce,
  patch: () => state.patch,
});
deliverTo(gallery.add);
if (unread.length) gallery.tell(say.queryUnread(unread));
restart();
