/** The picture on its paper, its label, and how far the drawing is. */

import * as text from '../strings.js';
import { byId, enable, show, write, writeRows } from './document.js';
import { loaded } from './model.js';

const SMALLEST_SIDE = 384; // CSS pixels: a 128 x 128 picture is shown three times as wide

export function renderPaper(state) {
  const { phase, picture, request, form } = state;
  const lies = whatLies(state);
  const { width, height } = shapeOf(lies === 'picture' ? picture
    : phase === 'drawing' ? request : form);
  const paper = byId('paper');
  const scale = Math.max(1, SMALLEST_SIDE / Math.max(width, height));
  paper.style.setProperty('--ratio', String(width / height));
  paper.style.setProperty('--wide', `${Math.round(width * scale)}px`);
  renderPicture(picture, lies);
  renderPreview(state.preview, lies);
  renderBlank(state, lies);
  renderLabel(state, lies);
  byId('draw-bar').value = drawn(state);
  write('draw-text', text.drawText(state));
  byId('figure').setAttribute('aria-busy', String(phase === 'drawing'));
}

/** Within a batch the last picture stays until the next one shows. */
function whatLies({ phase, picture, preview, batch }) {
  if (phase === 'drawing' && preview) return 'preview';
  const kept = phase !== 'drawing' || batch.index > 0;
  return kept && picture ? 'picture' : 'blank';
}

function shapeOf({ width, height }) {
  const ratio = width / height;
  return ratio > 1 / 4 && ratio < 4 ? { width: Number(width), height: Number(height) }
    : { width: 1, height: 1 };
}

function renderPicture(picture, lies) {
  const image = byId('picture');
  if (picture && image.src !== picture.url) image.src = picture.url;
  image.alt = picture?.prompt ?? '';
  image.hidden = lies !== 'picture';
}

let painted = null;

function renderPreview(preview, lies) {
  const canvas = byId('preview');
  canvas.hidden = lies !== 'preview';
  if (!preview || preview === painted) return;
  painted = preview;
  const { rgba, width, height } = preview;
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d')?.putImageData(new ImageData(rgba, width, height), 0, 0);
}

function renderBlank(state, lies) {
  const { phase } = state;
  show('blank', lies === 'blank');
  write('hint', text.hint(state));
  show('load', phase === 'idle');
  write('load', text.loadButton(state.modelBytes));
  const done = phase === 'drawing' ? drawn(state) : loaded(state);
  byId('blank').style.setProperty('--done', String(done));
}

/** Of what is on the paper, or is being drawn on it. */
function renderLabel({ phase, picture, request }, lies) {
  const drawing = phase === 'drawing';
  const named = drawing && lies !== 'picture' ? request : picture;
  enable('save', Boolean(picture) && !drawing);
  show('label', Boolean(named));
  show('timings', Boolean(picture) && !drawing);
  if (picture) writeRows('timings', text.timingRows(picture));
  if (!named) return;
  write('caption', named.prompt);
  write('facts', text.facts(named));
  const cut = named.tokens?.dropped > 0;
  show('dropped', cut);
  write('dropped', cut ? text.say.dropped(named.tokens) : '');
}

/** @returns {number} 0..1, how much of all pictures that were asked for is done */
function drawn({ phase, drawing, picture, batch }) {
  if (phase === 'drawing') return (batch.index + (drawing?.fraction ?? 0)) / batch.count;
  return phase === 'ready' && picture ? 1 : 0;
}
