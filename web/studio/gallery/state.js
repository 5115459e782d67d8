/** The gallery's one state object, as the studio has one. Only `set` changes it. */

import { render } from './view.js';

export const state = {
  entries: [], // the store's, newest first
  kept: true, // false: the browser lets the page keep nothing
  shown: 'recent', // or 'all'
  current: null, // id of the thumbnail that Tab reaches
  removed: [], // what Undo brings back: pictures as the store's `add` takes them
  told: '', // the sentence that is shown for a while
  asking: false, // whether to clear the gallery
  packing: false,
  open: null, // { entry, url } in the viewer
  choosing: false, // the viewer shows the pictures to compare with
  other: null, // { entry, url } compared with
  border: 50, // percent of the width that the first picture has
  full: false, // the viewer fills the screen, or the window where it may not
  link: '', // one that could not be copied
};

export function set(patch) {
  Object.assign(state, patch);
  render(state);
}
