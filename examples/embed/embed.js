/** Draws a prompt on a canvas. The folder that build.py wrote lies at ../../dist/. */
import { inspectDevice, loadPipeline } from '../../dist/trefoil.js';

const MANIFEST = new URL('../../dist/model/manifest.json', import.meta.url);
const [form, prompt, cancel, bar, status, canvas] =
  ['form', 'prompt', 'cancel', 'bar', 'status', 'canvas'].map((id) => document.getElementById(id));
let pipe; // the promise of a pipeline: the first picture downloads the model
let running; // the AbortController of the picture that is being drawn

function showDownload({ loadedBytes, totalBytes }) {
  bar.value = totalBytes ? loadedBytes / totalBytes : 0;
  status.textContent = `Downloading, ${(loadedBytes / 1e6).toFixed(1)} MB`;
}

function showDrawing({ stage, fraction }) {
  bar.value = fraction;
  status.textContent = `Drawing: ${stage}`;
}

async function draw(text, signal) {
  const device = await inspectDevice();
  if (!device.ok) throw new Error(`${device.reason} ${device.remedy}`);
  pipe ??= loadPipeline(MANIFEST, { signal, onProgress: showDownload });
  pipe.catch(() => { pipe = undefined; }); // so that a cancelled download can begin again
  const picture = await (await pipe).generate({ prompt: text, seed: 7 },
    { signal, onProgress: showDrawing });
  const { rgba, width, height } = picture;
  Object.assign(canvas, { width, height, ariaLabel: text });
  canvas.getContext('2d').putImageData(new ImageData(rgba, width, height), 0, 0);
  return `Done in ${(picture.timings.totalMs / 1000).toFixed(1)} s`;
}

form.onsubmit = async (event) => {
  event.preventDefault();
  if (running) return;
  running = new AbortController();
  try {
    status.textContent = await draw(prompt.value, running.signal);
  } catch (error) {
    status.textContent = error.name === 'AbortError' ? 'Cancelled' : error.message;
  }
  running = undefined;
};
cancel.onclick = () => running?.abort();
