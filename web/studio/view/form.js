/** The form as the state has it. */

import { UNASKED_BYTES, canDraw, isStale } from '../state.js';
import { say } from '../strings.js';
import { byId, enable, show, write } from './document.js';

/** @type {('prompt' | 'seed' | 'width' | 'height' | 'steps' | 'count')[]} */
export const FIELDS = ['prompt', 'seed', 'width', 'height', 'steps', 'count'];
/** @type {('memory' | 'precision' | 'textTokens')[]} */
export const OPTIONS = ['memory', 'precision', 'textTokens'];
export const IDEAS_SHOWN = 3;
const EARLIER_SHOWN = 8;

export function renderForm(state) {
  for (const name of FIELDS) {
    const field = byId(name);
    if (field.value !== state.form[name]) field.value = state.form[name];
    field.setAttribute('aria-invalid', String(state.error?.field === name));
  }
  for (const side of [byId('width'), byId('height')]) side.step = side.min = state.patch;
  for (const name of OPTIONS) byId(name).value = state.options[name];
  byId('theme').value = state.theme;
  byId('lock').setAttribute('aria-pressed', String(state.seedLocked));
  enable('reset-steps', state.form.steps !== state.defaultSteps);
  renderSize(state);
  renderIdeas(state);
  renderEarlier(state);
  renderImages(state);
  renderNotes(state);
  enable('generate', canDraw(state));
}

function renderSize({ sizes, form, customSize }) {
  const key = `${form.width}x${form.height}`;
  const listed = sizes.some((size) => size.join('x') === key);
  byId('size').value = !customSize && listed ? key : 'custom';
}

function renderIdeas({ firstIdea }) {
  const ideas = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.ideas li'));
  ideas.forEach((idea, i) => {
    const place = (i - firstIdea + ideas.length) % ideas.length;
    idea.hidden = place >= IDEAS_SHOWN;
  });
  if (ideas.length) show('more-ideas', ideas.length > IDEAS_SHOWN);
}

function renderEarlier({ prompts }) {
  show('earlier', prompts.length > 0);
  fill('earlier-list', prompts.slice(0, EARLIER_SHOWN), (prompt) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'earlier-prompt';
    button.textContent = prompt;
    return button;
  });
}

function renderImages({ images, mostImages }) {
  show('images', mostImages > 0);
  fill('thumbnails', images, (image, index) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'thumbnail';
    button.ariaLabel = button.title = say.imageOf(index);
    const picture = new Image();
    picture.src = image.url;
    picture.alt = '';
    button.append(picture);
    return button;
  });
}

const filled = new Map();

/** Makes the list's items anew when they are others than the last time. */
function fill(id, items, make) {
  const key = items.map((item) => item.url ?? item).join('\n');
  if (filled.get(id) === key) return;
  filled.set(id, key);
  byId(id).replaceChildren(...items.map((item, index) => {
    const entry = document.createElement('li');
    entry.append(make(item, index));
    return entry;
  }));
}

const LARGE = 2; // times the largest size that the page lists

function renderNotes(state) {
  renderLarge(state);
  const extraBytes = state.phase === 'ready' ? state.needs?.extraBytes ?? 0 : 0;
  const extra = extraBytes > UNASKED_BYTES;
  show('extra', extra);
  write('extra', extra ? say.extra(extraBytes, state.images.length > 0) : '');
  const stale = isStale(state) && state.phase !== 'loading';
  show('stale', stale);
  write('stale', stale ? say.stale : '');
}

/** What a size far beyond the list's will take, before it is drawn. */
function renderLarge({ form: { width, height }, sizes, needs, phase }) {
  const ratio = width * height / Math.max(...sizes.map(([w, h]) => w * h));
  const large = phase === 'ready' && ratio >= LARGE && needs?.peakBytes > 0;
  show('large', large);
  write('large', large ? say.large(needs.peakBytes, ratio) : '');
}
