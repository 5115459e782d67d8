/** What the studio says about a picture and how it comes about. */

import { bytes, duration, times } from './numbers.js';
import { waitText } from './waiting.js';

const STAGES = {
  download: 'Downloading more of the model',
  encode: 'Reading the prompt', reference: 'Looking at the reference images',
  denoise: 'Drawing', decode: 'Developing the picture',
};

/** The text beside the drawing's bar. */
export function drawText({ phase, drawing, picture, batch }) {
  if (phase !== 'drawing') return picture ? `Done in ${duration(picture.timings.totalMs)}` : '';
  if (batch.stopped) return 'Stopping';
  const place = batch.count > 1 ? `Picture ${batch.index + 1} of ${batch.count} · ` : '';
  return place + stageText(drawing);
}

function stageText(drawing) {
  if (!drawing) return STAGES.encode;
  if (drawing.stage === 'download') return moreText(drawing);
  if (drawing.stage !== 'denoise') return STAGES[drawing.stage];
  return `Step ${drawing.step + 1} of ${drawing.steps}`;
}

function moreText(drawing) {
  const { loadedBytes, totalBytes, otherTab } = drawing;
  if (otherTab) return 'Waiting for another tab that downloads';
  const waits = waitText(drawing);
  return `${STAGES.download}: ${bytes(loadedBytes)} of ${bytes(totalBytes)}`
    + `${waits && ` · ${waits}`}`;
}

/** Of the long stages the quarters, too. */
function heardOf({ stage, fraction, loadedBytes, totalBytes, offline }) {
  const done = { download: loadedBytes / totalBytes, denoise: fraction }[stage];
  if (done === undefined) return STAGES[stage];
  return `${STAGES[stage]}, ${quarter(done)}${waitHeard({ offline })}`;
}

/** The seconds until another try would be read out too often. */
const waitHeard = ({ offline }) => (offline ? `, ${waitText({ offline })}` : '');

const quarter = (fraction) => `${Math.floor(fraction * 4) * 25} %`;

/** What a screen reader hears: a new text at each quarter and each stage, not at each message. */
export function announcement(state) {
  const { phase, download, drawing, picture, batch } = state;
  if (phase === 'loading') {
    const { loadedBytes, totalBytes, offline } = download ?? { loadedBytes: 0, totalBytes: 1 };
    return `Downloading the model, ${quarter(loadedBytes / totalBytes)}${waitHeard({ offline })}`;
  }
  if (phase === 'paused') return 'The download is paused';
  if (phase === 'drawing') {
    const place = batch.count > 1 ? `Picture ${batch.index + 1} of ${batch.count}. ` : '';
    return place + heardOf(drawing ?? { stage: 'encode' });
  }
  if (phase === 'ready') return picture ? 'The picture is ready' : 'The model is ready';
  return '';
}

/** @returns {string} the line under the prompt on the picture's label */
export function facts({ seed, width, height, steps }) {
  return `Seed ${seed} · ${times(width, height)} · ${steps} ${steps === 1 ? 'step' : 'steps'}`;
}

/** @returns {[string, string][]} name and value */
export function timingRows({ timings, peakBytes, stageBytes = {} }) {
  const { encodeMs, stepMs, decodeMs, totalMs } = timings;
  const mean = stepMs.reduce((sum, ms) => sum + ms, 0) / stepMs.length;
  /** @returns {[string, string]} */
  const row = (name, time, stage) => (
    [name, stageBytes[stage] ? `${time} · ${bytes(stageBytes[stage])}` : time]);
  return [
    row('Encode', duration(encodeMs), 'encode'),
    row('Steps', `${stepMs.length} × ${duration(mean)}`, 'denoise'),
    row('Decode', duration(decodeMs), 'decode'),
    ['Total', duration(totalMs)],
    ...(peakBytes ? [row('Peak GPU memory', bytes(peakBytes))] : []),
  ];
}

/** @returns {string} what a bug report needs, to be copied as it is */
export function report({ device, storage, stored, info, options, picture, request }) {
  const { images, ...asked } = request ?? {};
  const shown = { browser: navigator.userAgent, device, storage, stored, model: info, options,
    request: request && { ...asked, images: images?.length ?? 0 } };
  if (picture) shown.picture = { timings: picture.timings, peakBytes: picture.peakBytes };
  return JSON.stringify(shown, null, 2);
}
