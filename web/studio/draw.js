/** Drawing what the form says: one picture after another, never two at once. */

import { send } from './client.js';
import { askNeeds, cancelLoad, loadAsked } from './load.js';
import { encodePng } from './picture.js';
import { readRequest, rollSeed } from './request.js';
import { pushPrompt, prompts } from './settings.js';
import { canCancel, canDraw, fail, isStale, set, state } from './state.js';
import { say } from './strings.js';

/** @type {(settings: object, blob: Blob) => void} */
let handOn = () => {};

/** `receiver(settings, blob)` gets every picture that is drawn: the gallery. */
export function deliverTo(receiver) {
  handOn = receiver;
}

/** Draws as soon as the model is here, which is loaded if need be. */
export function draw() {
  if (!canDraw(state)) return;
  takeSeed();
  const { request, count, field, message } = readRequest(state.form, state.patch);
  set({ error: field ? { message, field } : null });
  if (field) {
    document.getElementById(field).focus();
  } else if (state.phase !== 'ready' || isStale(state)) {
    set({ drawNext: true });
    loadAsked();
  } else {
    pushPrompt(request.prompt);
    const { textTokens } = state.options;
    const images = state.images.map(({ width, height, rgba }) => ({ width, height, rgba }));
    const first = { ...request, textTokens, ...(images.length ? { images } : {}) };
    set({ batch: { first, count, index: 0, stopped: false }, usedSeed: state.form.seed,
      prompts: prompts() });
    begin();
    document.getElementById('figure').scrollIntoView({ block: 'nearest' });
  }
}

/** A seed that was drawn already is not drawn again, unless it is locked. */
function takeSeed() {
  const { seedLocked, usedSeed, form } = state;
  if (seedLocked || form.seed !== usedSeed) return;
  set({ form: { ...form, seed: String(rollSeed()) } });
}

function begin() {
  const { first, index } = state.batch;
  const request = { ...first, seed: first.seed + index };
  set({ phase: 'drawing', request, drawing: null, preview: null });
  send('generate', { request });
}

export function cancel() {
  if (!canCancel(state)) return;
  if (state.phase !== 'drawing') return cancelLoad();
  set({ batch: { ...state.batch, stopped: true } });
  send('cancel');
}

export const drawSays = {
  preview({ preview }) {
    if (state.phase === 'drawing') set({ preview });
  },

  async picture({ picture }) {
    const { rgba, ...facts } = picture;
    const { request } = state;
    const settings = settingsOf(request);
    let blob;
    try {
      blob = await encodePng(picture, settings);
    } catch (error) {
      fail({ message: say.notWritten(error.message) });
      if (state.phase === 'drawing' && state.request === request) stand();
      return;
    }
    if (state.picture) URL.revokeObjectURL(state.picture.url);
    const { prompt, steps } = request;
    set({ picture: { ...facts, prompt, steps, url: URL.createObjectURL(blob) } });
    handOn(settings, blob);
    if (state.phase === 'drawing' && state.request === request) proceed();
  },
};

/** What stands in the picture's file, and in the gallery. */
function settingsOf({ prompt, seed, width, height, steps }) {
  return { prompt, seed, width, height, steps, model: state.name,
    precision: state.info.precision, version: `Trefoil ${document.body.dataset.version}` };
}

/** To the next picture of the batch, or to the end. */
function proceed() {
  const { count, index, stopped } = state.batch;
  if (stopped || index + 1 === count) return stand();
  set({ batch: { ...state.batch, index: index + 1 } });
  begin();
}

function stand() {
  set({ phase: 'ready', preview: null });
  askNeeds();
}

/** Draws the last picture once more, of the same seed, with other options for the pipeline. */
export function drawAgain(options) {
  set({ options: { ...state.options, ...options }, usedSeed: null, error: null });
  draw();
}

export function drawProgress(drawing) {
  set({ drawing });
}

export const drawCancelled = stand;

/** What was asked for while the model was on its way. */
export function drawIfAsked() {
  const { drawNext } = state;
  set({ drawNext: false });
  if (drawNext) draw();
  askNeeds();
}
