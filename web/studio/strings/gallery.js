/** What the gallery and its viewer say. */

import { facts } from './drawing.js';
import { times } from './numbers.js';

const pictures = (count) => (count === 1 ? '1 picture' : `${count} pictures`);
const shortened = (prompt) => (prompt.length > 120 ? `${prompt.slice(0, 120)}…` : prompt);

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
  notShrunk: 'This browser made no small copy of the picture: the list shows it as it is.',
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
  factRows: ({ settings, createdAt, kept }) => /** @type {[string, string][]} */ ([
    ['Seed', String(settings.seed)],
    ['Size', times(settings.width, settings.height)],
    ['Steps', String(settings.steps)],
    ['Model', settings.model],
    ['Precision', settings.precision],
    ['Drawn', new Date(createdAt).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'short' })],
    ['Kept', kept ? 'On this device' : 'Until the page is closed'],
  ]).filter(([, value]) => value),
};
