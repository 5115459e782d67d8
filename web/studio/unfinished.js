/**
 * Work that the browser ended with its tab. Phones close a tab without a word when memory runs out;
 * what the page was at is written down while it lasts, and found by the next page that opens.
 */

const KEY = 'trefoil-unfinished';
const TAB = crypto.getRandomValues(new Uint32Array(2)).join('-');

let written = null;

/** A lock lives as long as its tab: it tells a closed tab's mark from that of one at work. */
const lockOf = (tab) => `trefoil-tab-${tab}`;

function holdLock() {
  navigator.locks?.request(lockOf(TAB), () => new Promise(() => {})).catch(() => {});
}

async function isOpen(tab) {
  try {
    const { held } = await navigator.locks.query();
    return held.some(({ name }) => name === lockOf(tab));
  } catch {
    return false;
  }
}

/** @returns {{ doing: string, size: string } | null} what to write down */
function workOf({ phase, drawing, request }) {
  if (phase === 'loading') return { doing: 'load', size: '' };
  if (phase !== 'drawing') return null;
  return { doing: drawing?.stage ?? 'encode', size: `${request.width}x${request.height}` };
}

function write(work) {
  const text = work && JSON.stringify({ tab: TAB, ...work });
  if (text === written) return;
  try {
    if (text) localStorage.setItem(KEY, text);
    else if (localStorage.getItem(KEY) === written) localStorage.removeItem(KEY);
    written = text;
  } catch {
    // Storage is refused here: then nothing can be noticed later.
  }
}

/** Writes down what the state says is going on, and takes it back when it is over. */
export function noteWork(state) {
  write(workOf(state));
}

/**
 * @returns {Promise<{ doing: 'load' | 'download' | 'encode' | 'denoise' | 'decode', size: string }
 *   | null>} what a tab that the browser closed was at; told once
 */
export async function findUnfinished() {
  holdLock();
  addEventListener('pagehide', () => write(null)); // closed by the visitor, not by the browser
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    if (!found || await isOpen(found.tab)) return null;
    localStorage.removeItem(KEY);
    return found;
  } catch {
    return null;
  }
}
