/**
 * One tab downloads at a time; the others wait, and then find the files kept. And a tab says which
 * build of a model it draws from, as long as it does.
 */

const NAME = 'trefoil-download';
const IN_USE = 'trefoil-model ';

/**
 * @param {AbortSignal} signal ends the waiting
 * @param {() => void} onWait called when another tab has the lock
 * @returns {Promise<() => Promise<void>>} gives the lock back; where there are no locks, nothing
 */
export async function takeLock(signal, onWait) {
  const release = await tryLock();
  if (release) return release;
  onWait();
  return request({ signal });
}

/** The same without waiting; null while another tab has the lock. */
export async function tryLock() {
  if (!globalThis.navigator?.locks) return async () => {};
  try {
    return await request({ ifAvailable: true });
  } catch (error) {
    if (error.name === 'SecurityError') return async () => {}; // refused in some frames
    throw error;
  }
}

/**
 * Tells other tabs that the files of a claim are in use.
 * @param {string} id the claim's
 * @param {AbortSignal} signal ends it
 */
export async function tellInUse(id, signal) {
  const release = await request({ mode: 'shared', signal }, IN_USE + id).catch(() => null);
  if (signal.aborted) release?.();
  else if (release) signal.addEventListener('abort', release, { once: true });
}

/** Whether a tab, this one too, uses the files of a claim; false where that cannot be known. */
export async function isInUse(id) {
  try {
    const { held } = await navigator.locks.query();
    return held.some(({ name }) => name === IN_USE + id);
  } catch {
    return false;
  }
}

/** Settles once the lock is there, or cannot be had. */
/**
 * @param {LockOptions} options
 * @returns {Promise<(() => Promise<void>) | null>} what gives it back
 */
function request(options, name = NAME) {
  return new Promise((resolve, reject) => {
    const done = navigator.locks.request(name, options, (lock) => {
      if (!lock) return resolve(null);
      return /** @type {Promise<void>} */ (new Promise((finish) => {
        resolve(() => {
          finish();
          return done;
        });
      }));
    });
    done.catch(reject);
  });
}
