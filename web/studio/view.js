/** State in, document out. Nothing else writes to the document. */

import * as text from './strings.js';

const byId = (id) => document.getElementById(id);
const FIELDS = ['prompt', 'seed', 'width', 'height', 'steps'];
export const IDEAS_SHOWN = 3;
export const UNASKED_BYTES = 64e6; // a download up to this size needs no press and no word
const SMALLEST_SIDE = 384; // CSS pixels: a 128 x 128 picture is shown three times as wide

let announced = ''; // the state's own sentence, as it was read out last

export function render(state) {
  document.body.dataset.phase = state.phase;
  renderForm(state);
  renderAlert(state);
  renderPaper(state);
  renderLabel(state);
  renderActivity(state);
  renderTimings(state);
  if (announced !== text.announcement(state)) announce(announced = text.announcement(state));
}

/** Has a sentence read out, once: the state's own follows when that changes. */
export function announce(sentence) {
  write('live', sentence);
}

function write(id, content) {
  const element = byId(id);
  if (element.textContent !== content) element.textContent = content;
}

function show(id, shown) {
  byId(id).hidden = !shown;
}

/** A button that does nothing now keeps its focus, so it is marked rather than disabled. */
function enable(id, enabled) {
  byId(id).setAttribute('aria-disabled', String(!enabled));
}

export function canDraw({ phase, drawNext }) {
  return phase === 'idle' || phase === 'ready' || (phase === 'loading' && !drawNext);
}

export function canCancel({ phase }) {
  return phase === 'loading' || phase === 'drawing';
}

function renderForm(state) {
  for (const name of FIELDS) {
    const field = byId(name);
    if (field.value !== state.form[name]) field.value = state.form[name];
    field.setAttribute('aria-invalid', String(state.error?.field === name));
  }
  for (const side of ['width', 'height']) byId(side).step = byId(side).min = state.patch;
  renderSizes(state);
  const ideas = document.querySelectorAll('.ideas li');
  ideas.forEach((idea, i) => {
    const place = (i - state.firstIdea + ideas.length) % ideas.length;
    idea.hidden = place >= IDEAS_SHOWN;
  });
  if (ideas.length) show('more-ideas', ideas.length > IDEAS_SHOWN);
  enable('generate', canDraw(state));
  const extra = state.phase === 'ready' && state.extraBytes > UNASKED_BYTES;
  show('extra', extra);
  write('extra', extra ? text.say.extra(state.extraBytes) : '');
}

function renderSizes({ sizes, form, customSize }) {
  const select = byId('size');
  const keys = [...sizes.map((size) => size.join('x')), 'custom'];
  if (keys.join() !== [...select.options].map((option) => option.value).join()) {
    const labels = [...sizes.map((size) => text.times(...size)), 'Custom'];
    select.replaceChildren(...keys.map((key, i) => new Option(labels[i], key)));
  }
  const key = `${form.width}x${form.height}`;
  select.value = !customSize && keys.includes(key) ? key : 'custom';
}

function renderAlert({ error }) {
  write('alert-text', error?.message ?? '');
  write('alert-remedy', error?.remedy ?? '');
  show('reload', Boolean(error?.reload));
}

/** The paper has the shape of what is on it, or will be. */
function renderPaper(state) {
  const { phase, picture, request, form } = state;
  const shown = phase !== 'drawing' && picture;
  const { width, height } = shapeOf(phase === 'drawing' ? request : picture ?? form);
  const paper = byId('paper');
  const scale = Math.max(1, SMALLEST_SIDE / Math.max(width, height));
  paper.style.setProperty('--ratio', width / height);
  paper.style.setProperty('--wide', `${Math.round(width * scale)}px`);
  const image = byId('picture');
  if (picture && image.src !== picture.url) image.src = picture.url;
  image.alt = picture?.prompt ?? '';
  image.hidden = !shown;
  show('blank', !shown);
  write('hint', text.hint(state));
  show('load', phase === 'idle');
  write('load', text.say.loadButton(state.modelBytes));
  byId('blank').style.setProperty('--done', phase === 'drawing' ? drawn(state) : loaded(state));
  byId('figure').setAttribute('aria-busy', String(phase === 'drawing'));
}

function shapeOf({ width, height }) {
  const ratio = width / height;
  return ratio > 1 / 4 && ratio < 4 ? { width: Number(width), height: Number(height) }
    : { width: 1, height: 1 };
}

/** What is on the paper, or what is being drawn on it. */
function renderLabel({ phase, picture, request }) {
  const drawing = phase === 'drawing';
  const named = drawing ? request : picture;
  enable('save', Boolean(picture) && !drawing);
  show('label', Boolean(named));
  if (!named) return;
  write('caption', named.prompt);
  write('facts', text.facts(named));
  const cut = named.tokens?.dropped > 0;
  show('dropped', cut);
  write('dropped', cut ? text.say.dropped(named.tokens) : '');
}

/** @returns {number} 0..1, how much of the model is here */
function loaded({ phase, download }) {
  if (phase === 'ready' || phase === 'drawing') return 1;
  return phase === 'loading' && download ? download.loadedBytes / download.totalBytes : 0;
}

/** @returns {number} 0..1, how much of the picture is done */
function drawn({ phase, drawing, picture }) {
  if (phase === 'drawing') return drawing?.fraction ?? 0;
  return phase === 'ready' && picture ? 1 : 0;
}

function renderActivity(state) {
  byId('model-bar').value = loaded(state);
  byId('draw-bar').value = drawn(state);
  write('model-text', text.modelText(state));
  write('draw-text', text.drawText(state));
  enable('cancel', canCancel(state));
}

function renderTimings(state) {
  const { phase, picture, device } = state;
  const shown = Boolean(picture) && phase !== 'drawing';
  show('timings', shown);
  show('technical', Boolean(device));
  write('report', text.report(state));
  if (shown) renderRows(byId('timings'), text.timingRows(picture));
}

function renderRows(list, rows) {
  list.replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement('div');
    row.append(document.createElement('dt'), document.createElement('dd'));
    row.firstChild.textContent = name;
    row.lastChild.textContent = value;
    return row;
  }));
}
