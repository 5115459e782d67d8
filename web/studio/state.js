/** The one state object. The view is a function of it; only `set` changes it. */

import { render } from './view.js';

/**
 * phase: checking -> unsupported | idle -> loading -> ready <-> drawing; lost when the engine is.
 * form holds the fields as they are written; request.js turns them into numbers.
 */
export const state = {
  phase: 'checking',
  name: document.body.dataset.name,
  modelBytes: Number(document.body.dataset.bytes),
  form: { prompt: '', seed: '', width: '', height: '', steps: '' },
  customSize: false, // "Custom" was chosen although the numbers match a listed size
  sizes: [], // [[width, height], ...]
  patch: 1, // width and height are multiples of this
  firstIdea: 0,
  drawNext: false, // draw as soon as the model is loaded
  device: null, // inspectDevice()'s answer
  info: null, // the loaded pipeline's info
  download: null, // { phase, loadedBytes, totalBytes, startedAt, startBytes, now }
  extraBytes: 0, // what the form's picture would download before it is drawn
  drawing: null, // { stage, step, steps, fraction, loadedBytes?, totalBytes? }
  request: null, // what is being drawn
  picture: null, // { url, prompt, seed, width, height, steps, timings, peakBytes, tokens }
  error: null, // { message, remedy?, field?, reload? }
};

export function set(patch) {
  Object.assign(state, patch);
  render(state);
}

/** The first error stays until the visitor acts. */
export function fail(error, patch = {}) {
  set({ ...patch, error: state.error ?? error });
}
