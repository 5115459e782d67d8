/** Lets the site open without a network, where the browser allows it. */

const WORKER_URL = new URL('../../sw.js', import.meta.url);

/**
 * Starts the service worker (sw.js), which keeps pages, scripts and kernels. Called when the model is
 * here: before that nothing could be drawn without a network, and nothing is fetched unasked.
 * Refused in frames of other sites, from file: and from plain http: beyond this machine; then
 * everything works, but only with a network.
 * @returns {Promise<boolean>} whether this version or an earlier one is kept
 */
export async function keepShell() {
  try {
    const workers = navigator.serviceWorker;
    const registration = await workers.register(WORKER_URL, { updateViaCache: 'none' });
    return Boolean(registration.active)
      || await installed(registration.installing ?? registration.waiting);
  } catch {
    return false;
  }
}

/** Whether a worker comes to be active. */
function installed(worker) {
  return new Promise((resolve) => {
    worker.addEventListener('statechange', () => {
      if (worker.state === 'activated') resolve(true);
      if (worker.state === 'redundant') resolve(false);
    });
  });
}
