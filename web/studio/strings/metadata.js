/** What the studio says of the settings that stand in a picture's file. */

import { times } from './numbers.js';

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
