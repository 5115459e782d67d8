/** What the studio says of the settings that stand in a picture's file. */

import { times } from './numbers.js';

const OR = new Intl.ListFormat('en', { type: 'disjunction' });
const shortly = (value) => String(value).slice(0, 40);

export const metadata = {
  notPng: 'This is no PNG picture: settings are read from PNG files that this page or another '
    + 'studio wrote.',
  without: 'This PNG holds no settings: neither this page nor a studio of the same format wrote '
    + 'it, or they were taken out on the way.',
  damaged: 'The file is damaged, but its settings could be read.',
  damagedWithout: 'This PNG is damaged, and no settings could be read from it.',
  tooLarge: 'This file is too large to be a picture with settings.',
  negative: 'Its negative prompt was left out: the model takes none.',
  seedRefused: (seed) => `Its seed, ${shortly(seed)}, was left out: it is no whole `
    + 'number from 0 to 9007199254740991.',
  refused: (what, value) => `Its ${what}, ${shortly(value)}, could not be read and was left out.`,
  absent: (names) => `It tells no ${OR.format(names)}: what the form has stays.`,
  unreadable: (name) => `${name ? `“${shortly(name)}”` : 'What was dropped'} could not be read: it is a `
    + 'folder, or a file that is gone or may not be read. Choose a picture file.',
  ofSeveral: (name, count) => `They are those of ${shortly(name)}, of ${count} files.`,
  stepsLowered: (count, most) => `Its ${count} steps were lowered to ${most}.`,
  sizeRounded: (from, to, patch) => `Its size, ${times(...from)}, was rounded to `
    + `${times(...to)}: the sides are multiples of ${patch}.`,
};
