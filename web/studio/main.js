/** The studio: what the visitor does and what the worker says, each turned into a state. */

import { startWorker } from './client.js';
import { startGallery } from './gallery/main.js';
import { encodePng, savePng } from './picture.js';
import { readRequest, rollSeed } from './request.js';
import { fail, set, state } from './state.js';
import { say } from './strings.js';
import { announce, canCancel, canDraw, IDEAS_SHOWN, UNASKED_BYTES } from './view.js';

const MANIFEST_URL = new URL('model/manifest.json', document.baseURI).href;
const FIELDS = ['prompt', 'seed', 'width', 'height', 'steps'];
/** Errors that the engine survives; after any other it is started anew. */
const HARMLESS = ['InputError', 'DownloadError', 'ModelError', 'UnsupportedError'];

const byId = (id) => document.getElementById(id);

let worker = null;
let gallery = null;

// ---- what the visitor does

function load() {
  if (state.phase !== 'idle') return;
  if (state.modelBytes > UNASKED_BYTES) navigator.storage?.persist?.().catch(() => {});
  set({ phase: 'loading', download: null, error: null });
  worker.send('load', { manifestUrl: MANIFEST_URL });
}

function draw() {
  if (!canDraw(state)) return;
  const { request, field, message } = readRequest(state.form, state.patch);
  set({ error: field ? { message, field } : null });
  if (field) {
    byId(field).focus();
  } else if (state.phase === 'ready') {
    set({ phase: 'drawing', request, drawing: null, drawNext: false });
    worker.send('generate', { request });
    byId('figure').scrollIntoView({ block: 'nearest' });
  } else {
    set({ drawNext: true });
    load();
  }
}

function cancel() {
  if (canCancel(state)) worker.send('cancel');
}

/** What the form's size and steps mean to the engine. */
function drawnShape({ width, height, steps }) {
  return { width: Number(width), height: Number(height), steps: Number(steps) };
}

function askExtra() {
  if (state.phase === 'ready') worker.send('extra', { request: drawnShape(state.form) });
}

function restart() {
  worker?.stop();
  worker = startWorker(workerSays);
  set({ phase: 'checking', error: null, info: null, download: null, drawing: null });
  worker.send('inspect');
}

// ---- what the worker says

const before = (job) => (job === 'generate' ? 'ready' : 'idle');

const workerSays = {
  device({ device }) {
    if (!device.ok) {
      const { reason: message, remedy } = device;
      return fail({ message, remedy }, { device, phase: 'unsupported' });
    }
    set({ device, phase: 'idle' });
    if (state.drawNext || state.modelBytes <= UNASKED_BYTES) load();
  },

  progress({ job, progress }) {
    if (job === 'generate') return set({ drawing: progress });
    const now = performance.now();
    const last = state.download?.phase === progress.phase ? state.download : null;
    const { startedAt, startBytes } = last ?? { startedAt: now, startBytes: progress.loadedBytes };
    set({ download: { ...progress, startedAt, startBytes, now } });
  },

  loaded({ info }) {
    const sizes = info.pipeline.sizes ?? state.sizes;
    const { drawNext } = state;
    const { bytes: modelBytes, patch } = info;
    set({ phase: 'ready', info, modelBytes, sizes, patch, drawNext: false });
    if (drawNext) draw();
    askExtra();
  },

  extra({ request, bytes }) {
    const asked = JSON.stringify(request) === JSON.stringify(drawnShape(state.form));
    if (asked) set({ extraBytes: bytes });
  },

  async picture({ picture }) {
    const { rgba, ...facts } = picture;
    const { prompt, seed, width, height, steps } = state.request;
    const settings = {
      prompt, seed, width, height, steps, model: state.name, precision: state.info.precision,
      version: `Trefoil ${document.body.dataset.version}`,
    };
    const blob = await encodePng(picture, settings);
    if (state.picture) URL.revokeObjectURL(state.picture.url);
    set({ phase: 'ready', picture: { ...facts, prompt, steps, url: URL.createObjectURL(blob) } });
    askExtra();
    await gallery.add(settings, blob);
  },

  cancelled({ job }) {
    set({ phase: before(job), drawNext: false });
    askExtra();
  },

  error(failure) {
    const broken = !HARMLESS.includes(failure.name);
    const error = { message: say.failed(failure), reload: broken };
    fail(error, { phase: broken ? 'lost' : before(failure.job), drawNext: false });
  },
};

// ---- wiring

/** Changes fields of the form; a complaint about one of them is answered by that. */
function edit(fields) {
  const answered = state.error?.field in fields;
  set({ form: { ...state.form, ...fields }, error: answered ? null : state.error });
  askExtra();
}

/** Puts a kept picture's settings into the form, as far as they are there. */
function fill(settings) {
  set({ customSize: false });
  const given = FIELDS.filter((name) => name in settings);
  edit(Object.fromEntries(given.map((name) => [name, String(settings[name])])));
}

function chooseSize(key) {
  if (key === 'custom') {
    set({ customSize: true });
    return byId('width').focus();
  }
  const [width, height] = key.split('x');
  set({ customSize: false });
  edit({ width, height });
}

function onKey(event) {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    draw();
  } else if (event.key === 'Escape') {
    cancel();
  }
}

function listen() {
  const press = (id, action) => byId(id)?.addEventListener('click', action);
  for (const name of FIELDS) {
    byId(name).addEventListener('input', (event) => edit({ [name]: event.target.value }));
  }
  byId('size').addEventListener('change', (event) => chooseSize(event.target.value));
  byId('form').addEventListener('submit', (event) => {
    event.preventDefault();
    draw();
  });
  document.addEventListener('keydown', onKey);
  press('load', load);
  press('cancel', cancel);
  press('reload', restart);
  press('dice', () => edit({ seed: String(rollSeed()) }));
  press('save', () => state.picture && state.phase !== 'drawing' && savePng(state.picture));
  const ideas = document.querySelectorAll('.chip');
  press('more-ideas', () => set({ firstIdea: (state.firstIdea + IDEAS_SHOWN) % ideas.length }));
  for (const idea of ideas) {
    idea.addEventListener('click', () => edit({ prompt: idea.textContent }));
  }
}

/** The page's defaults, then the query: ?prompt=…&seed=…&width=…&height=…&steps=…&run */
function readPage() {
  const query = new URLSearchParams(location.search);
  const form = Object.fromEntries(FIELDS.map((name) => [name, byId(name).defaultValue]));
  form.seed = String(rollSeed());
  for (const name of FIELDS) if (query.has(name)) form[name] = query.get(name);
  const sizes = [...byId('size').options].map((option) => option.value.split('x').map(Number));
  const listed = sizes.filter((size) => size.length === 2);
  set({ form, sizes: listed, patch: Number(byId('width').step), drawNext: query.has('run') });
}

if (/Mac|iPhone|iPad/.test(navigator.platform)) byId('shortcut').textContent = '⌘ ↵';
readPage();
listen();
gallery = startGallery({
  onReuse(settings) {
    fill(settings);
    byId('prompt').focus();
  },
  onVary(settings) {
    fill(settings);
    byId('generate').focus();
    draw();
  },
  announce,
  patch: () => state.patch,
});
restart();
