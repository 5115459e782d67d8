/** Getting the model: what the visitor does about it, and what the worker says of it. */

import { send } from './client.js';
import { UNASKED_BYTES, canDelete, drawsFromGraphs, fail, isStale, isUsable, set, state }
  from './state.js';
import { ratesOf } from './rate.js';
import { inspectStorage, persistStorage } from './storage.js';
import { say } from './strings.js';
import { announce } from './view.js';

const MANIFEST_URL = new URL('model/manifest.json', document.baseURI).href;

let stopAs = 'idle'; // the phase after the download that is being stopped

/** Has the engine look at the device, and at what is kept of the model. */
export function inspect(options = {}) {
  send('inspect', { manifestUrl: MANIFEST_URL, ...options });
}

/** Loads the model, goes on with a paused download, or loads anew what was loaded otherwise. */
export function load() {
  const { phase, options } = state;
  if (!(['idle', 'paused'].includes(phase) || (phase === 'ready' && isStale(state)))) return;
  stopAs = 'idle';
  set({ phase: 'loading', download: null, error: null, unfinished: null, info: null,
    changed: null, notKept: null, loadedWith: { ...options } });
  send('load', { manifestUrl: MANIFEST_URL, model: state.model,
    options: { ...options, engine: engineOf(state) } });
}

/** Large graphs in place of a model that was asked for are not fetched unasked. */
function engineOf({ options, onnxBytes, device }) {
  const asks = onnxBytes > UNASKED_BYTES && device.prefer === 'webgpu';
  return options.engine === 'auto' && asks ? 'webgpu' : options.engine;
}

/** As the visitor asked for it: then the browser may be asked to keep a large model. */
export function loadAsked() {
  if (state.modelBytes > UNASKED_BYTES && !state.storage?.persisted) keepStored();
  load();
}

/** Stops the download; what is here stays, and `load` goes on with it. */
export function pauseOrResume() {
  if (state.phase === 'paused') return load();
  if (state.phase !== 'loading') return;
  stopAs = 'paused';
  send('cancel');
}

export function cancelLoad() {
  if (state.phase === 'paused') set({ phase: 'idle', download: null, drawNext: false });
  else send('cancel');
}

/** Asks that the browser keeps what is stored, and tells what it answered. */
export async function keepStored() {
  const persisted = await persistStorage();
  set({ storage: { ...state.storage, persisted, asked: true } });
  announce(persisted ? say.persisted : say.notPersisted);
}

export function deleteModel() {
  if (!canDelete(state)) return;
  set({ phase: 'deleting', info: null, loadedWith: null, needs: null, error: null });
  send('delete');
}

/** Another tab may have downloaded or deleted it while this one was hidden, or run the bench. */
export function askStored() {
  if (!state.device || document.visibilityState !== 'visible') return;
  set({ rates: ratesOf(state.device.adapter) });
  send('stored');
}

/** What size, steps and images need of network and GPU, asked of the loaded model. */
export function askNeeds() {
  if (state.phase === 'ready' && state.info) send('needs', { request: drawnShape(state) });
}

function drawnShape({ form: { width, height, steps }, images }) {
  const shape = { width: Number(width), height: Number(height), steps: Number(steps) };
  if (images.length) shape.images = images.map(sides);
  return shape;
}

const sides = ({ width, height }) => ({ width, height });

async function lookIntoStorage() {
  set({ storage: { ...state.storage, ...await inspectStorage() } });
}

export const loadSays = {
  device({ device, stored }) {
    lookIntoStorage();
    const { onnxBytes } = state;
    set({ rates: ratesOf(device.adapter) });
    const { reason: message, remedy, silent } = device;
    if (silent) fail({ message, remedy, wait: true, processor: onnxBytes > 0 });
    if (drawsFromGraphs({ ...state, device })) {
      return set({ device, stored, phase: 'idle', modelBytes: onnxBytes });
    }
    if (device.ok) return set({ device, stored, phase: 'idle' });
    return fail({ message, remedy }, { device, stored, phase: 'unsupported' });
  },

  loaded({ info, stored }) {
    lookIntoStorage();
    const { bytes: modelBytes, patch } = info;
    set({ phase: 'ready', info, stored, modelBytes, patch });
  },

  needs({ request, extraBytes, peakBytes }) {
    const asked = JSON.stringify(request) === JSON.stringify(drawnShape(state));
    if (asked) set({ needs: { extraBytes, peakBytes } });
  },

  stored({ stored }) {
    set({ stored });
  },

  deleted({ stored, sharedBytes }) {
    lookIntoStorage();
    set({ stored, phase: isUsable(state) ? 'idle' : 'unsupported', download: null,
      changed: null, notKept: null });
    announce(say.deleted(sharedBytes));
  },
};

/** What a download tells of the storage, that of a load or of a drawing: said when it happens. */
export function noteStorage({ changed, notKept }) {
  if (changed && !state.changed) {
    set({ changed });
    announce(say.changed(changed));
  }
  if (notKept && !state.notKept) {
    set({ notKept });
    announce(say.notKept(notKept));
  }
}

/** The library's progress, and since when the bytes have been coming. */
export function loadProgress(progress) {
  const now = performance.now();
  const last = state.download?.phase === progress.phase ? state.download : null;
  const fetched = progress.loadedBytes - (progress.cachedBytes ?? 0);
  const { startedAt, startBytes } = last ?? { startedAt: now, startBytes: fetched };
  // Before the manifest is here, only the page knows how much it is going to be.
  const totalBytes = progress.totalBytes || state.modelBytes;
  set({ download: { ...progress, totalBytes, startedAt, startBytes, now } });
}

export function loadCancelled({ stored }) {
  const paused = stopAs === 'paused';
  set({ phase: stopAs, stored, loadedWith: null, drawNext: paused && state.drawNext,
    download: paused ? state.download : null });
}
