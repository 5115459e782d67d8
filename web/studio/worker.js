/**
 * The engine's side of the studio: one pipeline, one job at a time.
 *
 * page -> worker
 *   { type: 'inspect' }
 *   { type: 'load', manifestUrl }
 *   { type: 'generate', request }          request: { prompt, seed, width, height, steps }
 *   { type: 'extra', request }             request: { width, height, steps }
 *   { type: 'cancel' }                     stops the running load or generate
 *
 * worker -> page
 *   { type: 'device', device }             what inspectDevice() found
 *   { type: 'progress', job, progress }    job: 'load' | 'generate'; progress: the library's
 *   { type: 'loaded', info }
 *   { type: 'picture', picture }           the pixels are transferred, not copied
 *   { type: 'extra', request, bytes }      what drawing the request would download first
 *   { type: 'cancelled', job }
 *   { type: 'error', job, name, message }  name and message of the Error that ended the job
 */

import { inspectDevice, loadPipeline } from '../trefoil.js';

let pipeline = null;
let job = null; // the AbortController of what is running

async function inspect() {
  postMessage({ type: 'device', device: await inspectDevice() });
}

async function load({ manifestUrl }, options) {
  pipeline?.destroy();
  pipeline = null;
  pipeline = await loadPipeline(manifestUrl, options);
  postMessage({ type: 'loaded', info: pipeline.info });
}

async function generate({ request }, options) {
  const picture = await pipeline.generate(request, options);
  postMessage({ type: 'picture', picture }, [picture.rgba.buffer]);
}

/** No job: it neither stops one nor can be stopped. What cannot be drawn is refused when it is. */
async function extra({ request }) {
  const bytes = await pipeline.extraBytes(request).catch(() => 0);
  postMessage({ type: 'extra', request, bytes });
}

async function run(name, work, message) {
  const controller = new AbortController();
  job = controller;
  const onProgress = (progress) => postMessage({ type: 'progress', job: name, progress });
  try {
    await work(message, { signal: controller.signal, onProgress });
  } catch (error) {
    // A lost device may reject with an AbortError as well: only the signal tells a cancel.
    postMessage(controller.signal.aborted ? { type: 'cancelled', job: name }
      : { type: 'error', job: name, name: error.name, message: error.message });
  } finally {
    if (job === controller) job = null;
  }
}

onmessage = ({ data }) => {
  if (data.type === 'cancel') job?.abort();
  else if (data.type === 'extra') extra(data);
  else if (data.type === 'inspect') run('inspect', inspect, data);
  else if (data.type === 'load') run('load', load, data);
  else if (data.type === 'generate') run('generate', generate, data);
};
