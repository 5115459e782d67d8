/** One tab downloads at a time; the others wait, and then find the files kept. */

const NAME = 'trefoil-download';

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

/** Settles once the lock is there, or cannot be had. */
function request(options) {
  return new Promise((resolve, reject) => {
    const done = navigator.locks.request(NAME, options, (lock) => {
      if (!lock) return resolve(null);
      return new Promise((finish) => {
        resolve(() => {
          finish();
          return done;
        });
      });
    });
    done.catch(reject);
  });
}
