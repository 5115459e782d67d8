/** Files from outside: dropped anywhere on the page, pasted, or chosen. */

import { settingsIn } from '../metadata.js';
import { gallery as say, metadata } from '../strings.js';
import { byId } from '../view/document.js';

/** @type {Parameters<typeof listenForFiles>[0]} */
let studio = null;

/** Decides what files mean: a picture whose settings are taken, the first that has some. */
async function receiveFiles(files) {
  const outcomes = [];
  for (const file of files) {
    const outcome = await settingsOf(file);
    if (outcome.settings) {
      studio.onReuse(outcome.settings);
      const which = files.length > 1 ? [metadata.ofSeveral(file.name, files.length)] : [];
      return studio.tell([say.reused, ...which, ...outcome.notes].join(' '));
    }
    outcomes.push(outcome);
  }
  return studio.tell(outcomes[0].fault);
}

/** A folder is handed over like a file, and a file may be gone when it is read. */
async function settingsOf(file) {
  try {
    return await settingsIn(file, studio.patch());
  } catch {
    return { fault: metadata.unreadable(file.name) };
  }
}

const filesOf = (transfer) => [...transfer?.files ?? []];

function onDrop(event) {
  document.body.toggleAttribute('data-drop', false);
  const files = filesOf(event.dataTransfer);
  if (!files.length || event.defaultPrevented) return;
  event.preventDefault();
  receiveFiles(files);
}

/** Only a page that refuses the browser's own way gets the drop. */
function onDragOver(event) {
  if (!event.dataTransfer?.types.includes('Files') || event.defaultPrevented) return;
  event.preventDefault();
  document.body.toggleAttribute('data-drop', true);
}

/** Text with a picture of itself, as office programs copy it, is pasted as text. */
function onPaste(event) {
  const files = filesOf(event.clipboardData);
  const text = event.clipboardData?.types.includes('text/plain');
  if (!files.length || event.defaultPrevented || text) return;
  event.preventDefault();
  receiveFiles(files);
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
    if (chooser.files.length) receiveFiles([...chooser.files]);
    chooser.value = ''; // the same file can be chosen again
  });
  document.addEventListener('dragover', onDragOver);
  document.addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) document.body.toggleAttribute('data-drop', false);
  });
  document.addEventListener('drop', onDrop);
  document.addEventListener('paste', onPaste);
}
