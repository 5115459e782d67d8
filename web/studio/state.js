/** The one state object. What follows it, the view first, is a function of it. */

/**
 * phase: checking -> unsupported | idle -> loading <-> paused; loading -> ready <-> drawing; lost
 * when the engine is; deleting where the stored model is removed. form holds the fields as they are
 * written; request.js turns them into numbers.
 */
export const state = {
  phase: 'checking',
  name: document.body.dataset.name,
  model: document.body.dataset.model, // the mark of the model that the page was written for
  modelBytes: Number(document.body.dataset.bytes),
  onnxBytes: Number(document.body.dataset.onnx), // of the graphs that draw without WebGPU, or 0
  mostImages: Number(document.body.dataset.images), // that the model takes as reference
  form: { prompt: '', seed: '', width: '', height: '', steps: '', count: '' },
  seedLocked: false, // Generate draws the seed that is shown again, instead of a new one
  usedSeed: null, // the seed in the form when a picture was last begun
  customSize: false, // "Custom" was chosen although the numbers match a listed size
  sizes: [], // [[width, height], ...]
  peaks: {}, // "512x512" -> expected bytes of GPU memory, reckoned when the site was built
  flops: {}, // "512x512" -> floating-point operations of a step, likewise
  rates: {}, // 10^9 of them a second by precision, as the bench measured this device
  patch: 1, // width and height are multiples of this
  defaultSteps: '', // the model's own
  firstIdea: 0,
  prompts: [], // earlier ones, newest first
  recalled: -1, // which of them the prompt's arrow keys have come to, -1: none
  draft: '', // what was written before they were pressed
  // As loadPipeline takes them.
  options: { memory: 'auto', precision: 'f32', textTokens: 'padded', kernels: 'auto',
    engine: 'auto', patienceMs: undefined },
  loadedWith: null, // those of the pipeline that is loaded or being loaded
  theme: 'system', // or 'light', 'dark'
  drawNext: false, // draw as soon as the model is loaded
  device: null, // inspectDevice()'s answer
  storage: null, // { refused, usage, persisted, asked? }, see storage.js
  stored: null, // { bytes, files, kind } of the model on this device
  changed: null, // { files, of }: so many had changed on this device and were fetched again
  notKept: null, // 'full' or 'refused': why some of the model is in memory only
  info: null, // the loaded pipeline's info
  download: null, // the library's progress and { startedAt, startBytes, now }
  needs: null, // { extraBytes, peakBytes } of the form's picture, once the model is loaded
  batch: null, // { first, count, index, stopped }: requests with seeds first.seed, + 1, ...
  request: null, // what is being drawn
  drawing: null, // { stage, step, steps, fraction, loadedBytes?, totalBytes?, ... }
  preview: null, // { step, steps, width, height, rgba } of the picture being drawn
  picture: null, // { url, prompt, seed, width, height, steps, timings, peakBytes, tokens }
  images: [], // reference images: { name, url, width, height, rgba }
  unfinished: null, // { doing, size }: what an earlier tab was at when the browser closed it
  // { message, remedy?, field?, reload?, wait?, safe?, processor? }: what is offered; reload: of the
  // 'engine' or the 'page'
  error: null,
};

/** A download up to this size needs no press and no word. */
export const UNASKED_BYTES = 64e6;

const followers = [];

/** `follower(state)` is called after every change. */
export function follow(follower) {
  followers.push(follower);
}

export function set(patch) {
  Object.assign(state, patch);
  for (const follower of followers) follower(state);
}

/** The first error stays until the visitor acts. */
export function fail(error, patch = {}) {
  set({ ...patch, error: state.error ?? error });
}

/** @returns {boolean} something here draws: the graphics card, or the processor */
export function isUsable({ device, onnxBytes }) {
  return Boolean(device?.ok || onnxBytes);
}

/** @returns {boolean} the processor draws, from the ONNX graphs */
export function drawsFromGraphs({ device, onnxBytes, options: { engine } }) {
  if (engine !== 'auto') return engine === 'onnxruntime';
  return Boolean(onnxBytes) && device.prefer === 'onnxruntime';
}

/** @returns {boolean} the loaded pipeline was loaded with other options than the form has now */
export function isStale({ loadedWith, options }) {
  return Boolean(loadedWith)
    && ['memory', 'precision', 'kernels', 'engine']
      .some((name) => loadedWith[name] !== options[name]);
}

export function canDraw({ phase, drawNext }) {
  return ['idle', 'paused', 'ready'].includes(phase) || (phase === 'loading' && !drawNext);
}

export function canCancel({ phase, batch }) {
  return phase === 'loading' || phase === 'paused' || (phase === 'drawing' && !batch.stopped);
}

/** The stored model can be deleted while nothing reads or writes it. */
export function canDelete({ phase }) {
  return ['unsupported', 'idle', 'paused', 'ready'].includes(phase);
}
