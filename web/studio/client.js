/** The page's side of the worker protocol (written down in worker.js). */

const WORKER_URL = new URL('worker.js', import.meta.url);

let worker = null;

/**
 * Starts the worker, in place of the last one.
 * @param {Record<string, (message: object) => void>} on one handler per message type
 */
export function startWorker(on) {
  worker?.terminate();
  worker = new Worker(WORKER_URL, { type: 'module' });
  worker.onmessage = ({ data }) => on[data.type](data);
  worker.onerror = (event) => {
    event.preventDefault();
    on.error({ job: 'worker', name: 'WorkerError', message: event.message ?? '' });
  };
}

export function send(type, payload = {}) {
  worker.postMessage({ type, ...payload });
}
