/** Keeps the screen on while a picture is being drawn, where the browser can and will. */

let wanted = false;
let lock = null;

async function request() {
  try {
    const granted = await navigator.wakeLock?.request('screen');
    if (wanted && !lock) lock = granted ?? null;
    else granted?.release();
  } catch {
    // Refused, for example to save the battery: the picture is drawn all the same.
  }
}

/** Follows the state: held while drawing. */
export function keepAwake({ phase }) {
  const want = phase === 'drawing';
  if (want === wanted) return;
  wanted = want;
  if (want) return void request();
  lock?.release().catch(() => {});
  lock = null;
}

// The browser takes the lock back when the page is hidden.
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState !== 'visible') return;
  lock = null;
  if (wanted) request();
});
