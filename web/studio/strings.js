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

/** Sentences about the settings that stand in a file. */
export const metadata = {
  notPng: 'This is no PNG picture: settings are read from PNG files that this page or another '
    + 'studio wrote.',
  without: 'This PNG holds no settings: neither this page nor a studio of the same format wrote '
    + 'it, or they were taken out on the way.',
  damaged: 'The file is damaged, but its settings could be read.',
  damagedWithout: 'This PNG is damaged, and no settings could be read from it.',
  tooLarge: 'This file is too large to be a picture with settings.',
  negative: 'Its negative prompt was left out: the model takes none.',
  seedRefused: (seed) => `Its seed, ${String(seed).slice(0, 40)}, was left out: it is no whole `
    + 'number from 0 to 9007199254740991.',
  stepsLowered: (count, most) => `Its ${count} steps were lowered to ${most}.`,
  sizeRounded: (from, to, patch) => `Its size, ${times(...from)}, was rounded to `
    + `${times(...to)}: the sides are multiples of ${patch}.`,
};

const pictures = (count) => (count === 1 ? '1 picture' : `${count} pictures`);
const shortened = (prompt) => (prompt.length > 120 ? `${prompt.slice(0, 120)}…` : prompt);

/** Sentences of the gallery and its viewer. */
export const gallery = {
  count: (count) => (count ? pictures(count) : ''),
  empty: 'Pictures that you draw are kept here, on this device.',
  refused: 'This browser lets the page keep nothing, as in a private window or inside another '
    + 'page: these pictures will be gone when it is closed. Download those that you want.',
  full: 'The browser had no room for the newest pictures: they will be gone when this page is '
    + 'closed. Download them, or delete others.',
  showAll: (count) => `Show all ${count}`,
  showRecent: 'Show fewer',
  deleted: (count) => (count === 1 ? 'The picture was deleted.'
    : `${count} pictures were deleted.`),
  undoable: 'Undo brings it back for a while.',
  restored: (count) => `${pictures(count)} ${count === 1 ? 'is' : 'are'} back.`,
  clearQuestion: (count) => `Delete ${count === 1 ? 'the picture' : `all ${pictures(count)}`} of `
    + 'the gallery? This cannot be undone.',
  cleared: 'The gallery is empty.',
  packing: (count) => `Packing ${pictures(count)}…`,
  packed: (count) => `${pictures(count)} packed.`,
  packedWithout: (count, lost) => `${pictures(count)} packed; ${lost} could not be read.`,
  gone: 'This picture is no longer there: it may have been deleted in another tab.',
  opened: (place, count, prompt) => `Picture ${place} of ${count}: ${shortened(prompt)}`,
  reused: 'The settings are in the form.',
  linkCopied: 'The link is copied. It holds the prompt and the settings, not the picture.',
  linkRefused: 'This browser does not let the page copy. The link stands below, to be copied '
    + 'by hand.',
  imageCopied: 'The picture is copied.',
  imageRefused: 'This browser does not let the page copy pictures: download it instead.',
  fullScreen: 'Full screen',
  window: 'Leave full screen',
  chooseOther: 'Choose the picture to compare with.',
  comparing: 'Both pictures lie on each other. The slider moves the border between them.',
  border: (percent) => `${percent} % of the first picture, ${100 - percent} % of the second`,
  ordinal: ['First', 'Second'],
  captioned: ({ settings }) => `${shortened(settings.prompt)} · ${facts(settings)}`,
  /** @returns {[string, string][]} name and value */
  factRows: ({ settings, createdAt, kept }) => [
    ['Seed', String(settings.seed)],
    ['Size', times(settings.width, settings.height)],
    ['Steps', String(settings.steps)],
    ['Model', settings.model],
    ['Precision', settings.precision],
    ['Drawn', new Date(createdAt).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'short' })],
    ['Kept', kept ? 'On this device' : 'Until the page is closed'],
  ].filter(([, value]) => value),
};
