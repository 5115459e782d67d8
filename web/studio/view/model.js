/** The model's bar, what can be done about the model, and what is known of this device. */

import { UNASKED_BYTES, canCancel, canDelete } from '../state.js';
import * as text from '../strings.js';
import { byId, enable, offer, show, write, writeRows } from './document.js';

let unfolded = false;

export function renderModel(state) {
  const { phase, stored, storage, unfinished } = state;
  byId('model-bar').value = loaded(state);
  write('model-text', text.modelText(state));
  offer('pause', phase === 'loading' || phase === 'paused', 'cancel');
  write('pause', text.pauseButton(state));
  enable('cancel', canCancel(state));
  show('unfinished', Boolean(unfinished) && phase === 'idle');
  write('unfinished-text', unfinished ? text.unfinishedText(unfinished) : '');
  renderDevice(state);
  offer('keep', Boolean(storage) && !storage.refused && !storage.persisted, 'device-title');
  offer('delete', stored?.bytes > 0, 'device-title');
  enable('delete', canDelete(state));
  write('delete', text.deleteButton(stored?.bytes ?? 0));
  offer('own-tab', storage?.refused && window.top !== window.self, 'device-title');
}

/** Unfolded once, where a large download waits to be decided on. */
function renderDevice(state) {
  show('device', Boolean(state.device));
  writeRows('device-rows', text.deviceRows(state));
  const { device, rates, options } = state;
  offer('measure', Boolean(device?.ok) && !rates[options.precision], 'device-title');
  if (unfolded || state.phase !== 'idle' || state.modelBytes <= UNASKED_BYTES) return;
  unfolded = true;
  byId('device').open = true;
}

/** @returns {number} 0..1, how much of the model is here */
export function loaded({ phase, download }) {
  if (phase === 'ready' || phase === 'drawing') return 1;
  const known = (phase === 'loading' || phase === 'paused') && download;
  return known ? download.loadedBytes / download.totalBytes : 0;
}
