/** State in, document out, for the gallery and its viewer. */

import { gallery as say } from '../strings.js';
import { byId, enable, show, write } from '../view/document.js';
import { canCopyImages } from './share.js';
import { Thumbs } from './thumbs.js';

export const RECENT = 24; // pictures shown unless all are asked for

/** @type {{ gallery?: Thumbs, others?: Thumbs }} */
const lists = {};

/**
 * @param {(id: string) => Promise<Blob>} read a thumbnail
 * @param {Record<'gallery' | 'others', import('./thumbs.js').Listeners>} on
 */
export function makeLists(read, { gallery, others }) {
  lists.gallery = new Thumbs(byId('thumbs'), read, gallery);
  lists.others = new Thumbs(byId('other-thumbs'), read, others);
}

export const focusThumb = (id) => lists.gallery.focus(id);
export const shownEntries = ({ entries, shown }) => (
  shown === 'all' ? entries : entries.slice(0, RECENT));

function showImage(id, { entry, url }) {
  const image = byId(id);
  if (image.src !== url) image.src = url;
  image.alt = entry.settings.prompt;
}

export function render(state) {
  renderGallery(state);
  renderToast(state);
  renderQuestion(state);
  renderViewer(state);
}

function renderGallery(state) {
  const { entries, kept, current, shown, packing } = state;
  const any = entries.length > 0;
  write('gallery-count', say.count(entries.length));
  write('gallery-note', noteOn(entries, kept));
  show('gallery-note', byId('gallery-note').textContent);
  for (const id of ['download-all', 'clear-gallery']) show(id, any);
  enable('download-all', !packing);
  lists.gallery.render(shownEntries(state), current);
  show('show-all', entries.length > RECENT);
  write('show-all', shown === 'all' ? say.showRecent : say.showAll(entries.length));
}

function noteOn(entries, kept) {
  if (!kept) return say.refused;
  if (entries.some((entry) => !entry.kept)) return say.full;
  return entries.length ? '' : say.empty;
}

/** What lies outside of an open viewer cannot be reached, so the toast moves into it. */
function renderToast({ told, removed, open }) {
  const home = byId(open ? 'viewer-body' : 'gallery');
  const toast = byId('toast');
  if (toast.parentElement !== home) home.append(toast);
  write('toast-text', told);
  show('undo', removed.length);
  show('toast', told);
}

function renderQuestion({ asking, entries }) {
  const question = byId('clear-question');
  if (asking) write('clear-text', say.clearQuestion(entries.length));
  if (asking && !question.open) question.showModal();
  if (!asking && question.open) question.close();
}

function renderViewer(state) {
  const { open, choosing, other, full, link, entries } = state;
  const viewer = byId('viewer');
  if (!open) {
    if (viewer.open) viewer.close();
    return;
  }
  const single = !choosing && !other;
  show('viewer-single', single);
  show('viewer-panel', single);
  show('stop-comparing', !single);
  viewer.dataset.single = String(single);
  show('compare', other);
  show('others', choosing);
  renderPicture(state);
  if (other) renderCompare(state);
  const rest = entries.filter(({ id }) => id !== open.entry.id);
  lists.others.render(choosing ? rest : [], null);
  viewer.dataset.full = String(full);
  write('viewer-full', full ? say.window : say.fullScreen);
  show('copy-image', canCopyImages());
  enable('compare-with', rest.length > 0);
  show('link-field', link);
  byId('viewer-link').value = link;
  if (!viewer.open) {
    viewer.showModal();
    byId('viewer-close').focus();
  }
}

function renderPicture({ open, entries }) {
  const place = entries.findIndex(({ id }) => id === open.entry.id);
  showImage('viewer-picture', open);
  write('viewer-title', open.entry.settings.prompt);
  renderRows(byId('viewer-facts'), say.factRows(open.entry));
  enable('previous', place > 0);
  enable('next', place < entries.length - 1);
}

/** Both pictures lie in one box; it has the shape of the first, and the second fits into it. */
function renderCompare({ open, other, border }) {
  showImage('compare-first', open);
  showImage('compare-second', other);
  const { width, height } = open.entry.settings;
  const { style } = byId('layers');
  style.setProperty('--ratio', String(width / height));
  style.setProperty('--border', `${border}%`);
  byId('border').value = border;
  byId('border').setAttribute('aria-valuetext', say.border(border));
  renderRows(byId('pair'), [open, other].map(({ entry }, i) => (
    [say.ordinal[i], say.captioned(entry)])));
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
