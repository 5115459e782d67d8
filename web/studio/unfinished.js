/**
 * Work that the browser ended with its tab. Phones close a tab without a word when memory runs out;
 * what the page was at is written down while it lasts, and found by the next page that opens.
 */

const PREFIX = 'trefoil-unfinished-';
const TAB = crypto.getRandomValues(new Uint32Array(2)).join('-');

let written = null;

/** A lock lives as long as its tab: it tells a closed tab's mark from that of one at work. */
const lockOf = (tab) => `trefoil-tab-${tab}`;

function holdLock() {
  navigator.locks?.request(lockOf(TAB), () => new Promise(() => {})).catch(() => {});
}

/** @returns {Promise<Set<string>>} names of the locks that open tabs hold */
async function heldLocks() {
  try {
    return new Set((await navigator.locks.query()).held.map(({ name }) => name));
  } catch {
    return new Set();
  }
}

/** @returns {{ doing: string, size: string } | null} what to write down */
function workOf({ phase, drawing, request }) {
  if (phase === 'loading') return { doing: 'load', size: '' };
  if (phase !== 'drawing') return null;
  return { doing: drawing?.stage ?? 'encode', size: `${request.width}x${request.height}` };
}

function write(work) {
  const text = work && JSON.stringify(work);
  if (text === written) return;
  written = text;
  try {
    if (text) localStorage.setItem(PREFIX + TAB, text);
    else localStorage.removeItem(PREFIX + TAB);
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
  const held = await heldLocks();
  try {
    const closed = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)
      && !held.has(lockOf(key.slice(PREFIX.length))));
    const [found = null] = closed.map((key) => JSON.parse(localStorage.getItem(key)));
    for (const key of closed) localStorage.removeItem(key);
    return found;
  } catch {
    return null;
  }
}
