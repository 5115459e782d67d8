/** What the studio says about the model, its download and this device. */

import { bytes, operations, roughly, times } from './numbers.js';
import { capital, waitText } from './waiting.js';

const INVITATION = 'Describe a picture, then press Generate.';
const KEPT = 'It is downloaded once and kept on this device.';
const NOT_KEPT = 'This browser refuses storage here, so it is downloaded at each visit.';
const QUEUED = 'Your picture starts when the model is here.';
const SLOW = 'This browser draws in software here, which is slow.';
const NO_GRAPHICS = 'This device\'s graphics went wrong, so the processor draws, which is slow.';
const PLAIN = 'The safe kernels draw here, which are slower.';
const NO_WEBGPU = 'Without WebGPU this browser draws on the processor, which is slow.';

export const loadButton = (modelBytes) => `Load model (${bytes(modelBytes)})`;
export const pauseButton = ({ phase }) => (phase === 'paused' ? 'Resume' : 'Pause');
export const deleteButton = (stored) => `Delete model (${bytes(stored)})`;

/** What the visitor is asked before the model is deleted. */
export function deleteQuestion({ name, stored, modelBytes }) {
  return `${name} takes ${bytes(stored?.bytes ?? 0)} on this device. Without it, the next picture `
    + `needs a download of ${bytes(modelBytes)}.`;
}

/** The line on the blank paper. */
export function hint({ phase, name, modelBytes, drawNext, device, storage, info }) {
  switch (phase) {
    case 'checking': return 'Checking this device…';
    case 'unsupported': return 'Pictures cannot be drawn in this browser yet.';
    case 'idle': return `${name} is ${bytes(modelBytes)}. ${storage?.refused ? NOT_KEPT : KEPT}`;
    case 'loading': return drawNext ? QUEUED : 'The model is on its way.';
    case 'paused': return 'Paused. What is here already stays.';
    case 'ready': return `${INVITATION} ${speedNote(device, info)}`.trim();
    case 'deleting': return 'Deleting the model…';
    case 'lost': return 'The drawing engine has stopped.';
    default: return '';
  }
}

function speedNote({ ok, adapter, warning }, info) {
  if (!ok) return NO_WEBGPU;
  if (adapter.software) return SLOW;
  if (info?.engine === 'onnxruntime') return NO_GRAPHICS;
  return info?.safe ? PLAIN : warning;
}

/** What a disk that loses bytes has done, and what was done about it. */
export const changedFiles = ({ files, of }) => `${files} of ${of} files had changed on this device `
  + `and ${files === 1 ? 'was' : 'were'} fetched again`;

export const notKept = (why) => (why === 'full' ? 'The disk is full'
  : 'This browser refuses to keep more');

/** The text beside the model's bar. */
export function modelText({ phase, download, modelBytes, changed, notKept: why }) {
  switch (phase) {
    case 'checking': return '';
    case 'unsupported': case 'lost': return 'Not loaded';
    case 'idle': case 'deleting': return bytes(modelBytes);
    case 'loading': return downloadText(download, why);
    case 'paused': return `Paused${download?.loadedBytes ? ` · ${shareText(download)}` : ''}`;
    default: return ['Ready', bytes(modelBytes), changed && changedFiles(changed),
      why && `${notKept(why)}: gone when the page is closed`].filter(Boolean).join(' · ');
  }
}

function downloadText(download, why) {
  if (!download) return 'Starting';
  if (download.phase === 'wait') return 'Waiting for another tab that loads it';
  const waits = waitText(download);
  if (download.phase === 'check') {
    return capital(waits) || 'Checking the device and what is kept here';
  }
  if (download.phase === 'prepare') {
    return `Preparing the graphics, kernel ${download.kernel} of ${download.kernels}`;
  }
  return shareText(download) + (waits ? ` · ${waits}` : pace(download))
    + (why ? ` · ${notKept(why)}` : '');
}

function shareText({ loadedBytes, totalBytes, cachedBytes = 0 }) {
  const here = cachedBytes > 0 ? ` · ${bytes(cachedBytes)} were here` : '';
  return `${bytes(loadedBytes)} of ${bytes(totalBytes)}${here}`;
}

/** Speed and time left, once two seconds have shown what the line can do. */
function pace({ loadedBytes, totalBytes, cachedBytes = 0, startBytes, startedAt, now }) {
  const seconds = (now - startedAt) / 1000;
  const rate = (loadedBytes - cachedBytes - startBytes) / seconds;
  if (seconds < 2 || !(rate > 0)) return '';
  return ` · ${bytes(rate)}/s · ${roughly((totalBytes - loadedBytes) / rate)} left`;
}

/**
 * What was found before anything was downloaded.
 * @returns {[string, string][]} name and value
 */
export function deviceRows(state) {
  const { device, modelBytes } = state;
  if (!device) return [];
  /** @type {[string, string][]} */
  const graphics = [['Graphics', graphicsText(device)]];
  if (device.adapter) {
    graphics.push(['GPU features', featuresText(device)],
      ['Largest buffer', bytes(device.limits.maxBufferSize)]);
  }
  return [...graphics, ['Download', `${bytes(modelBytes)}, once`],
    ['GPU memory', memoryText(state)],
    ...(device.ok ? [/** @type {[string, string]} */ (['A step', stepText(state)])] : []),
    ['Storage', storageText(state)]];
}

function graphicsText({ adapter }) {
  if (!adapter) return 'none that WebGPU can use';
  const name = adapter.description || `${adapter.vendor} ${adapter.architecture}`.trim();
  return `${name || 'found'}${adapter.software ? ', in software' : ''}`;
}

function featuresText({ features }) {
  const names = { 'shader-f16': '16-bit floats', subgroups: 'subgroups' };
  const found = Object.keys(names).filter((name) => features.includes(name));
  return found.map((name) => names[name]).join(', ') || 'the standard ones';
}

function memoryText({ form: { width, height }, peaks, needs, options, info }) {
  const peak = needs?.peakBytes ?? (options.memory === 'auto' && peaks[`${width}x${height}`]);
  if (!peak) return info ? 'not known for this size' : 'told once the model is loaded';
  return `about ${bytes(peak)} for ${times(width, height)}`;
}

function stepText({ form: { width, height }, options: { precision }, flops, rates }) {
  const flop = flops[`${width}x${height}`];
  if (!flop) return 'not known for this size';
  const work = `${operations(flop)} for ${times(width, height)}`;
  const rate = rates[precision];
  return rate ? `about ${roughly(flop / rate / 1e9)}: ${work}, at the rate that the bench measured`
    : `${work}; how long that takes here, the bench tells`;
}

function storageText({ storage, stored, info, notKept: why }) {
  if (!storage) return 'being looked at';
  if (why === 'full' || (why && stored?.bytes)) return partlyKept(stored, why);
  if (info?.storage === 'memory' || (storage.refused && info?.storage !== 'cache')) {
    return 'refused here: the model is gone when the page is closed';
  }
  const place = stored?.kind === 'cache' ? ", in the browser's cache" : '';
  const here = stored?.bytes ? `${bytes(stored.bytes)} on this device${place}` : 'nothing here yet';
  if (storage.persisted) return `${here}, kept until you delete it`;
  return storage.asked ? `${here}; asked to keep it, the browser made no promise`
    : `${here}; the browser may clear it when space runs out`;
}

function partlyKept(stored, why) {
  const because = why === 'full' ? 'the disk is full' : 'this browser refuses more';
  return stored?.bytes ? `${bytes(stored.bytes)} on this device; the rest is not kept, because `
    + `${because}, and is gone when the page is closed`
    : `not kept: ${because}; the model is gone when the page is closed`;
}

/** What is said after the browser closed the tab in the middle of something. */
export function unfinishedText({ doing, size }) {
  const during = doing === 'load' || doing === 'download' ? 'the model was being loaded'
    : `a picture of ${size.replace('x', ' × ')} was being drawn`;
  const smaller = size ? ' A smaller size helps, too.' : '';
  return `The browser closed this page last time while ${during}. Mostly that means that memory `
    + `ran out.${smaller}`;
}
