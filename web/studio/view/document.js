/** The few ways in which the view changes the document. Each leaves alone what is right already. */

export const byId = (id) => document.getElementById(id);

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
