/** Every sentence the studio says, and how it writes numbers. */

const KB = 1e3, MB = 1e6, GB = 1e9;

/** @returns {string} "842 kB", "5.6 MB", "43 MB", "2.7 GB" */
export function bytes(count) {
  const [unit, name] = count >= GB ? [GB, 'GB'] : count >= MB ? [MB, 'MB'] : [KB, 'kB'];
  const value = count / unit;
  return `${value.toFixed(value < 10 && unit > KB ? 1 : 0)} ${name}`;
}

/** @returns {string} "38 ms", "1.24 s", "15.2 s", "2 min 5 s" */
export function duration(ms) {
  if (ms < 100) return `${ms.toFixed(0)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** @returns {string} "40 s", "3 min": a guess deserves no more digits */
function roughly(seconds) {
  if (seconds < 10) return `${Math.ceil(seconds)} s`;
  return seconds < 90 ? `${Math.ceil(seconds / 5) * 5} s` : `${Math.round(seconds / 60)} min`;
}

const times = (width, height) => `${width} × ${height}`;
const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

function nearest(value, patch) {
  const below = Math.floor(value / patch) * patch;
  return `${below} or ${below + patch}`;
}

const JOBS = { inspect: 'device check', load: 'download', generate: 'drawing', worker: 'engine' };
const NAMED_ERRORS = [
  'InputError', 'DownloadError', 'ModelError', 'UnsupportedError', 'DeviceError',
];

/** Sentences for the form and for errors. */
export const say = {
  promptMissing: 'The prompt is empty: write a few words about the picture you want.',
  seedWrong: 'The seed must be a whole number from 0 to 9007199254740991.',
  stepsWrong: (most) => `The steps must be a whole number from 1 to ${most}.`,
  sideTooSmall: (side, patch) => `The ${side} must be a whole number, ${patch} or more.`,
  sideNotMultiple: (side, value, patch) => `The ${side} is ${value}, which is not a multiple of `
    + `${patch}: use ${nearest(value, patch)}.`,
  failed: ({ job, name, message }) => {
    if (NAMED_ERRORS.includes(name)) return sentence(message);
    const detail = message ? `: ${sentence(message)}` : '.';
    return `The ${JOBS[job]} stopped unexpectedly${detail} Press Reload; if it stops again, `
      + 'close other tabs, draw smaller or update this browser.';
  },
  dropped: ({ count, limit, dropped }) => `The prompt has ${count} tokens and the model reads `
    + `${limit}: the last ${dropped} were left out.`,
  extra: (count) => `This size and number of steps need ${bytes(count)} more of the model, which `
    + 'Generate downloads first.',
  loadButton: (modelBytes) => `Load model (${bytes(modelBytes)})`,
};

const INVITATION = 'Describe a picture, then press Generate.';
const KEPT = 'It is downloaded once and kept on this device.';
const QUEUED = 'Your picture starts when the model is here.';
const SLOW = 'This browser draws in software here, which is slow.';

/** The line on the blank paper. */
export function hint({ phase, name, modelBytes, drawNext, device }) {
  switch (phase) {
    case 'checking': return 'Checking this device…';
    case 'unsupported': return 'Pictures cannot be drawn in this browser yet.';
    case 'idle': return `${name} is ${bytes(modelBytes)}. ${KEPT}`;
    case 'loading': return drawNext ? QUEUED : 'The model is on its way.';
    case 'ready': return device.adapter.fallback ? `${INVITATION} ${SLOW}` : INVITATION;
    case 'lost': return 'The drawing engine has stopped.';
    default: return '';
  }
}

/** The text beside the model's bar. */
export function modelText({ phase, download, modelBytes }) {
  if (phase === 'checking') return '';
  if (phase === 'unsupported' || phase === 'lost') return 'Not loaded';
  if (phase === 'idle') return bytes(modelBytes);
  if (phase !== 'loading') return `Ready · ${bytes(modelBytes)}`;
  if (!download) return 'Starting';
  if (download.phase === 'check') return 'Checking the GPU';
  return `${bytes(download.loadedBytes)} of ${bytes(download.totalBytes)}${pace(download)}`;
}

/** Speed and time left, once two seconds have shown what the line can do. */
function pace({ loadedBytes, totalBytes, startBytes, startedAt, now }) {
  const seconds = (now - startedAt) / 1000;
  const rate = (loadedBytes - startBytes) / seconds;
  if (seconds < 2 || !(rate > 0)) return '';
  return ` · ${bytes(rate)}/s · ${roughly((totalBytes - loadedBytes) / rate)} left`;
}

const STAGES = {
  download: 'Downloading more of the model',
  encode: 'Reading the prompt', denoise: 'Drawing', decode: 'Developing the picture',
};

/** The text beside the drawing's bar. */
export function drawText({ phase, drawing, picture }) {
  if (phase !== 'drawing') return picture ? `Done in ${duration(picture.timings.totalMs)}` : '';
  if (!drawing) return STAGES.encode;
  if (drawing.stage === 'download') {
    return `${STAGES.download}: ${bytes(drawing.loadedBytes)} of ${bytes(drawing.totalBytes)}`;
  }
  if (drawing.stage !== 'denoise') return STAGES[drawing.stage];
  return `Step ${drawing.step + 1} of ${drawing.steps}`;
}

/** What a screen reader hears: a new text at each quarter and each stage, not at each message. */
export function announcement(state) {
  const { phase, download, drawing, picture } = state;
  const quarter = (fraction) => `${Math.floor(fraction * 4) * 25} %`;
  if (phase === 'loading') {
    const { loadedBytes, totalBytes } = download ?? { loadedBytes: 0, totalBytes: 1 };
    return `Downloading the model, ${quarter(loadedBytes / totalBytes)}`;
  }
  if (phase === 'drawing') {
    return drawing ? `${STAGES[drawing.stage]}, ${quarter(drawing.fraction)}` : STAGES.encode;
  }
  if (phase === 'ready') return picture ? 'The picture is ready' : 'The model is ready';
  return '';
}

/** @returns {string} the line under the prompt on the picture's label */
export function facts({ seed, width, height, steps }) {
  return `Seed ${seed} · ${times(width, height)} · ${steps} ${steps === 1 ? 'step' : 'steps'}`;
}

/** @returns {[string, string][]} name and value */
export function timingRows({ timings, peakBytes }) {
  const { encodeMs, stepMs, decodeMs, totalMs } = timings;
  const mean = stepMs.reduce((sum, ms) => sum + ms, 0) / stepMs.length;
  return [
    ['Encode', duration(encodeMs)],
    ['Steps', `${stepMs.length} × ${duration(mean)}`],
    ['Decode', duration(decodeMs)],
    ['Total', duration(totalMs)],
    ['Peak GPU memory', bytes(peakBytes)],
  ];
}

/** @returns {string} what a bug report needs, to be copied as it is */
export function report({ device, info, picture, request }) {
  const shown = { browser: navigator.userAgent, device, model: info, request };
  if (picture) shown.picture = { timings: picture.timings, peakBytes: picture.peakBytes };
  return JSON.stringify(shown, null, 2);
}

export { times };
