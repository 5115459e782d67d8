/**
 * The engine's side of the studio: one pipeline, one job at a time.
 *
 * page -> worker
 *   { type: 'inspect', manifestUrl, patienceMs? }   how long the graphics may take to answer
 *   { type: 'load', manifestUrl, model, options }   options: as loadPipeline has them
 *   { type: 'generate', request }          request: { prompt, seed, width, height, steps,
 *                                          textTokens, images? }
 *   { type: 'needs', request }             request: { width, height, steps, images? }: sides only
 *   { type: 'stored' }                     asks what is kept
 *   { type: 'delete' }                     unloads the model and deletes it from this device
 *   { type: 'cancel' }                     stops the running load or generate
 *
 * worker -> page
 *   { type: 'device', device, stored }     what inspectDevice() found, and storedBytes() of the
 *                                          model, as below
 *   { type: 'progress', job, progress }    job: 'load' | 'generate'; progress: the library's
 *   { type: 'loaded', info, stored }
 *   { type: 'preview', preview }           the library's; its pixels are transferred, not copied
 *   { type: 'picture', picture }           likewise
 *   { type: 'needs', request, extraBytes, peakBytes }   what drawing it would download first, and
 *                                          the most GPU memory; 0 and null if it cannot be drawn
 *   { type: 'stored', stored }
 *   { type: 'deleted', stored, sharedBytes } the latter stay, because another site here has them too
 *   { type: 'cancelled', job, stored }
 *   { type: 'error', job, name, message }  name and message of the Error that ended the job
 */

import { deleteModel, inspectDevice, loadPipeline, storedBytes } from '../trefoil.js';

let manifestUrl = null; // of the page's model
let pipeline = null;
let job = null; // the AbortController of what is running

/** What of the model is on this device: { bytes, files, kind }; null where that is refused. */
const stored = () => storedBytes(manifestUrl).catch(() => null);

async function inspect({ patienceMs, ...message }) {
  ({ manifestUrl } = message);
  const [device, found] = await Promise.all([inspectDevice({ patienceMs }), stored()]);
  postMessage({ type: 'device', device, stored: found });
}

async function load({ model, options, ...message }, hooks) {
  ({ manifestUrl } = message);
  pipeline?.destroy();
  pipeline = null;
  pipeline = await loadPipeline(manifestUrl, { ...options, model, ...hooks });
  postMessage({ type: 'loaded', info: pipeline.info, stored: await stored() });
}

async function generate({ request }, hooks) {
  const onPreview = (preview) => {
    postMessage({ type: 'preview', preview }, { transfer: [preview.rgba.buffer] });
  };
  const picture = await pipeline.generate(request, { ...hooks, onPreview });
  postMessage({ type: 'picture', picture }, { transfer: [picture.rgba.buffer] });
}

async function remove() {
  pipeline?.destroy();
  pipeline = null;
  const { sharedBytes } = await deleteModel(manifestUrl);
  postMessage({ type: 'deleted', stored: await stored(), sharedBytes });
}

/** No job: it neither stops one nor can be stopped. What cannot be drawn is refused when it is. */
async function needs({ request }) {
  const extraBytes = await pipeline?.extraBytes(request).catch(() => 0) ?? 0;
  const plan = await pipeline?.plan(request).catch(() => null);
  postMessage({ type: 'needs', request, extraBytes, peakBytes: plan?.peakBytes ?? null });
}

/** No job: another tab may have changed it. */
async function tellStored() {
  postMessage({ type: 'stored', stored: await stored() });
}

const JOBS = { inspect, load, generate, delete: remove };

async function run(name, message) {
  const controller = new AbortController();
  job = controller;
  const onProgress = (progress) => postMessage({ type: 'progress', job: name, progress });
  try {
    await JOBS[name](message, { signal: controller.signal, onProgress });
  } catch (error) {
    // A lost device may reject with an AbortError as well: only the signal tells a cancel.
    const { aborted } = controller.signal;
    const { name: named, message: told } = error;
    job = null;
    postMessage(aborted ? { type: 'cancelled', job: name, stored: await stored() }
      : { type: 'error', job: name, name: named, message: told });
  } finally {
    if (job === controller) job = null;
  }
}

onmessage = ({ data }) => {
  const { type } = data;
  if (type === 'cancel') job?.abort();
  else if (type === 'needs') needs(data);
  else if (type === 'stored') tellStored();
  else if (!job) run(type, data);
  else {
    postMessage({ type: 'error', job: type, name: 'InputError',
      message: 'The engine is at work already; wait for it or cancel it.' });
  }
};
