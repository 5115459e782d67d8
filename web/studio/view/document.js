/** The few ways in which the view changes the document. Each leaves alone what is right already. */

/**
 * The elements of which more is used than any element has.
 * @typedef {object} Elements
 * @property {HTMLTextAreaElement} prompt
 * @property {HTMLInputElement} seed
 * @property {HTMLInputElement} width
 * @property {HTMLInputElement} height
 * @property {HTMLInputElement} steps
 * @property {HTMLInputElement} count
 * @property {HTMLSelectElement} size
 * @property {HTMLSelectElement} theme
 * @property {HTMLSelectElement} memory
 * @property {HTMLSelectElement} precision
 * @property {HTMLSelectElement} textTokens
 * @property {HTMLInputElement} image-files
 * @property {HTMLInputElement} settings-file
 * @property {HTMLInputElement} border
 * @property {HTMLInputElement} viewer-link
 * @property {HTMLImageElement} picture
 * @property {HTMLImageElement} viewer-picture
 * @property {HTMLImageElement} compare-first
 * @property {HTMLImageElement} compare-second
 * @property {HTMLCanvasElement} preview
 * @property {HTMLAnchorElement} own-tab
 * @property {HTMLProgressElement} model-bar
 * @property {HTMLProgressElement} draw-bar
 * @property {HTMLDetailsElement} device
 * @property {HTMLDetailsElement} technical
 * @property {HTMLDialogElement} confirm
 * @property {HTMLDialogElement} clear-question
 * @property {HTMLDialogElement} viewer
 */

/**
 * @template {string} Id
 * @param {Id} id
 * @returns {Id extends keyof Elements ? Elements[Id] : HTMLElement}
 */
export const byId = (id) => /** @type {any} */ (document.getElementById(id));

export function write(id, content) {
  const element = byId(id);
  if (element.textContent !== content) element.textContent = content;
}

export function show(id, shown) {
  byId(id).hidden = !shown;
}

/** A button that does nothing now keeps its focus, so it is marked rather than disabled. */
export function enable(id, enabled) {
  byId(id).setAttribute('aria-disabled', String(!enabled));
}

/** Hides a button that is not needed now; a focus on it goes to `heir`. */
export function offer(id, offered, heir) {
  const element = byId(id);
  if (!offered && element === document.activeElement) byId(heir).focus();
  element.hidden = !offered;
}

/** Name and value pairs in a <dl>, written again only where they changed. */
export function writeRows(id, rows) {
  const list = byId(id);
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach((row, i) => {
    const place = list.children[i] ?? list.appendChild(newRow());
    [...place.children].forEach((cell, k) => {
      if (cell.textContent !== row[k]) cell.textContent = row[k];
    });
  });
}

function newRow() {
  const row = document.createElement('div');
  row.append(document.createElement('dt'), document.createElement('dd'));
  return row;
}
