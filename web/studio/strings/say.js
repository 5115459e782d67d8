/** Sentences about the form, about errors, and answers to what the visitor pressed. */

import { bytes, sentence } from './numbers.js';

const OR = new Intl.ListFormat('en', { type: 'disjunction' });

function nearest(value, patch) {
  const below = Math.floor(value / patch) * patch;
  return `${below} or ${below + patch}`;
}

const JOBS = {
  inspect: 'device check', load: 'download', generate: 'drawing', delete: 'deletion',
  worker: 'engine',
};
const NAMED_ERRORS = [
  'InputError', 'DownloadError', 'UpdatedError', 'ModelError', 'UnsupportedError', 'DeviceError',
  'WrongResultError', 'ModuleError',
];

export const say = {
  promptMissing: 'The prompt is empty: write a few words about the picture you want.',
  seedWrong: 'The seed must be a whole number from 0 to 9007199254740991.',
  seedsWrong: (count) => `${count} pictures need ${count} seeds in a row, and the last one may be `
    + '9007199254740991 at most: choose a smaller seed.',
  stepsWrong: (most) => `The steps must be a whole number from 1 to ${most}.`,
  countWrong: (most) => `The pictures must be a whole number from 1 to ${most}.`,
  sideTooSmall: (side, patch) => `The ${side} must be a whole number, ${patch} or more.`,
  sideNotMultiple: (side, value, patch) => `The ${side} is ${value}, which is not a multiple of `
    + `${patch}: use ${nearest(value, patch)}.`,
  failed: ({ job, name, message }) => {
    if (NAMED_ERRORS.includes(name)) return sentence(message);
    const detail = message ? `: ${sentence(message)}` : '.';
    return `The ${JOBS[job]} stopped unexpectedly${detail} Press Reload; if it stops again, `
      + 'close other tabs, draw smaller or update this browser.';
  },
  fault: (why) => `Something on this page went wrong: ${sentence(why)} What was drawn is kept; if `
    + 'the page does not react, reload it.',
  shutOff: (address) => 'The page around this frame shuts it off (a sandbox without '
    + `allow-same-origin): open it in its own tab, ${address}`,
  notWritten: (why) => `The picture was drawn, but this browser could not write it as a PNG: `
    + `${sentence(why)} Update the browser, or draw in another one.`,
  dropped: ({ count, limit, dropped }) => `The prompt has ${count} tokens and the model reads `
    + `${limit}: the last ${dropped} were left out.`,
  large: (peak, ratio) => `That is ${Math.round(ratio)} times the largest size of the list: it takes `
    + `about ${bytes(peak)} of GPU memory, and at least ${Math.round(ratio)} times as long.`,
  queryUnread: (names) => `The address holds no usable ${OR.format(names)}: the model's own is in `
    + 'the form.',
  extra: (count, withImages) => `This size and number of steps${withImages ? ', or images,' : ''} `
    + `need ${bytes(count)} more of the model, which Generate downloads first.`,
  stale: 'The model is prepared anew with the next picture.',
  persisted: 'This browser keeps the model until you delete it.',
  notPersisted: 'This browser made no promise: it may clear the model when space runs out.',
  deleted: 'The model is deleted from this device.',
  imageUnreadable: (name) => `${name} cannot be read as a picture: choose a PNG, JPEG or WebP `
    + 'file.',
  tooManyImages: (most) => (most === 1 ? 'The model takes one reference image.'
    : `The model takes ${most} reference images at most: remove one first.`),
  imageOf: (index) => `Remove reference image ${index + 1}`,
};
