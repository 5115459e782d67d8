/** Files from outside: dropped anywhere on the page, pasted, or chosen. */

import { settingsIn } from '../metadata.js';
import { gallery as say } from '../strings.js';
import { byId } from '../view/document.js';

let studio = null; // what listenForFiles was given

/** Decides what a file means: a picture whose settings are taken. */
async function receiveFile(file) {
  const { settings, notes, fault } = await settingsIn(file, studio.patch());
  if (fault) return studio.tell(fault);
  studio.onReuse(settings);
  studio.tell([say.reused, ...notes].join(' '));
}

const firstFile = (transfer) => [...transfer?.files ?? []][0];

function onDrop(event) {
  document.body.toggleAttribute('data-drop', false);
  const file = firstFile(event.dataTransfer);
  if (!file || event.defaultPrevented) return;
  event.preventDefault();
  receiveFile(file);
}

/** Only a page that refuses the browser's own way gets the drop. */
function onDragOver(event) {
  if (!event.dataTransfer?.types.includes('Files') || event.defaultPrevented) return;
  event.preventDefault();
  document.body.toggleAttribute('data-drop', true);
}

/** Text with a picture of itself, as office programs copy it, is pasted as text. */
function onPaste(event) {
  const file = firstFile(event.clipboardData);
  if (!file || event.defaultPrevented || event.clipboardData.types.includes('text/plain')) return;
  event.preventDefault();
  receiveFile(file);
}

/**
 * @param {object} given
 * @param {() => number} given.patch width and height are multiples of this
 * @param {(settings: object) => void} given.onReuse
 * @param {(sentence: string) => void} given.tell
 */
export function listenForFiles(given) {
  studio = given;
  const chooser = byId('settings-file');
  byId('open-settings').addEventListener('click', () => chooser.click());
  chooser.addEventListener('change', () => {
    if (chooser.files.length) receiveFile(chooser.files[0]);
    chooser.value = ''; // the same file can be chosen again
  });
  document.addEventListener('dragover', onDragOver);
  document.addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) document.body.toggleAttribute('data-drop', false);
  });
  document.addEventListener('drop', onDrop);
  document.addEventListener('paste', onPaste);
}
