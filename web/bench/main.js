/**
 * The bench's page. Its query: `run` starts at once; `rows=` names sections or rows, by comma;
 * `samples=`, `sampleMs=`; `precisions=` of pictures; `full`: the rows of Bonsai too, even where
 * the adapter is a CPU; `ort=` a folder with onnxruntime-web and its models.
 */
import { PRECISIONS, abilitiesOf } from '../engine/candidates.js';
import { inspectDevice } from '../engine/device.js';
import { fetchManifest } from '../loader/manifest.js';
import { familyOf } from '../models/families.js';
import { noteRates } from '../studio/rate.js';
import { loadPipeline } from '../trefoil.js';
import { openEngine } from './engine.js';
import { watchMemory } from './memory.js';
import { modelRows } from './model_rows.js';
import { timePipeline } from './pipeline.js';
import { linearRates, timeRow } from './rows.js';
import { LARGE, SECTIONS, fixedRows } from './shapes.js';
import { say } from './strings.js';
import { openTheirs } from './theirs.js';
import { bestRate, drawPictures, drawRows } from './view.js';

const MANIFEST = './model/manifest.json';

const query = new URLSearchParams(location.search);
const named = query.get('rows')?.split(',');
const sampling = {
  samples: Number(query.get('samples') ?? 10), sampleMs: Number(query.get('sampleMs') ?? 20),
};
/** @returns {any} */
const byId = (id) => document.getElementById(id);
const boxes = Object.fromEntries(SECTIONS.map((section) => [section, byId(section)]));

let abort = null;
let results = null;

start();

async function start() {
  const found = await inspectDevice();
  byId('copy').addEventListener('click', copy);
  byId('run').addEventListener('click', () => (abort ? abort.abort() : run()));
  if (!found.ok) {
    phase('failed', say.failed(`${found.reason} ${found.remedy}`));
    return;
  }
  const software = abilitiesOf(found, found.adapter).software;
  byId('device').textContent = say.device(found.adapter,
    ['shader-f16', 'subgroups'].filter((name) => found.features.includes(name)));
  if (software) byId('software').textContent = say.software;
  for (const section of SECTIONS) {
    boxes[section].checked = named ? named.includes(section)
      : !LARGE.includes(section) || !software || query.has('full');
  }
  watchMemory();
  phase('ready', say.ready);
  if (query.has('run')) run();
}

async function run() {
  abort = new AbortController();
  const { signal } = abort;
  const begun = performance.now();
  byId('run').textContent = 'Stop';
  phase('running', say.loading);
  let engine;
  try {
    engine = await openEngine();
    const theirs = query.has('ort') ? await openTheirs(new URL(query.get('ort'), location.href))
      : null;
    results = {
      taken: new Date().toISOString(), browser: navigator.userAgent, adapter: engine.adapter,
      features: [...engine.device.features].sort(), ...sampling,
      ...(theirs && { ort: theirs.version, threads: theirs.threads }), rows: [], pictures: [],
    };
    show();
    const jobs = await wantedJobs(engine, theirs);
    for (const [i, { label, work, fail }] of jobs.entries()) {
      signal.throwIfAborted();
      phase('running', say.timing(label, i + 1, jobs.length));
      try {
        await work(engine, { ...sampling, signal, theirs });
      } catch (error) {
        if (error.name === 'AbortError') throw error;
        fail(error.message);
        engine.destroy(); // a device that rejected a command is of no use to the rows that follow
        engine = await openEngine();
      }
      show();
      noteBest();
    }
    phase('done', say.done(performance.now() - begun));
  } catch (error) {
    if (error.name === 'AbortError') phase('done', say.stopped);
    else phase('failed', say.failed(error.message));
  } finally {
    engine?.destroy();
    abort = null;
    byId('run').textContent = 'Run';
  }
}

/** From which the studio tells what a step takes. */
function noteBest() {
  noteRates(results.adapter, linearRates(results.rows));
}

/** What to time, in the order of the sections. */
async function wantedJobs(engine, theirs) {
  const wants = ({ section, id }) => boxes[section].checked || named?.includes(id);
  const rows = { ...fixedRows(), model: [] };
  const ids = named?.filter((name) => !SECTIONS.includes(name)) ?? [];
  if (boxes.model.checked || ids.some((id) => id.startsWith('model-'))) {
    rows.model = await modelRows(engine, await fetchManifest(new URL(MANIFEST, location.href)));
  }
  const known = Object.values(rows).flat().map(({ id }) => id);
  const unknown = ids.filter((id) => !known.includes(id));
  if (unknown.length) throw new Error(say.unknown(unknown.join(', ')));
  const pictures = await pictureJobs(engine, theirs);
  const jobs = SECTIONS.flatMap((section) => (section === 'pipeline'
    ? pictures : rows[section].filter(wants).map(rowJob)));
  if (!jobs.length) throw new Error(say.nothing);
  return jobs;
}

function rowJob(row) {
  return {
    label: row.label,
    async work(engine, options) { results.rows.push(await timeRow(engine, row, options)); },
    fail(failed) { results.rows.push({ ...row, failed }); },
  };
}

/** In the precisions that the device has kernels for, and by onnxruntime from the site's graphs. */
async function pictureJobs({ abilities: { f16, dot } }, theirs) {
  if (!boxes.pipeline.checked) return [];
  const able = { f32: true, f16, int8: dot };
  /** @type {any[]} what a query says is checked when the model is loaded */
  const precisions = query.get('precisions')?.split(',') ?? PRECISIONS.filter((one) => able[one]);
  const url = new URL(MANIFEST, location.href);
  const ours = precisions.map((precision) => (
    pictureJob(precision, ({ signal }) => loadPipeline(url, { precision, signal }))));
  const manifest = await fetchManifest(url);
  const runtimes = manifest.onnx ? [manifest.onnx, ...(theirs?.runtimes ?? [])] : [];
  return [...ours, ...runtimes.map((runtime) => pictureJob(
    `onnxruntime, ${runtime.provider ?? 'wasm'}`,
    ({ signal }) => openOnnx({ ...manifest, onnx: { ...manifest.onnx, ...runtime } }, url, signal)))];
}

function pictureJob(by, open) {
  return {
    label: `picture, ${by}`,
    async work(engine, options) {
      results.pictures.push(await timePipeline(() => open(options), { ...options, by }));
    },
    fail(failed) { results.pictures.push({ by, failed }); },
  };
}

async function openOnnx(manifest, url, signal) {
  const onnx = await import('../onnxruntime/engine.js');
  return onnx.openOnnx(manifest, url, familyOf(manifest), { signal, onProgress: () => {}, storage: 'memory',
    memoryBudget: Infinity, textTokens: 'padded' });
}

function show() {
  drawRows(byId('ops'), results.rows);
  drawPictures(byId('pictures'), results.pictures);
  byId('ops-region').hidden = !results.rows.length;
  byId('pictures-region').hidden = !results.pictures.length;
  byId('json-region').hidden = false;
  byId('json').value = JSON.stringify({ ...results, bestGflops: bestRate(results.rows) }, null, 1);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId('json').value);
    byId('status').textContent = say.copied;
  } catch {
    byId('status').textContent = say.notCopied;
  }
}

function phase(name, text) {
  document.body.dataset.phase = name;
  byId('status').textContent = text;
}
