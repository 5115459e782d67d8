/** The page's side of the worker protocol (written down in worker.js). */

const WORKER_URL = new URL('worker.js', import.meta.url);

/**
 * Starts the worker.
 * @param {Record<string, (message: object) => void>} on one handler per message type
 * @returns {{ send(type: string, payload?: object): void, stop(): void }}
 */
export function startWorker(on) {
  const worker = new Worker(WORKER_URL, { type: 'module' });
  worker.onmessage = ({ data }) => on[data.type](data);
  worker.onerror = (event) => {
    event.preventDefault();
    on.error({ job: 'worker', name: 'WorkerError', message: event.message ?? '' });
  };
  return {
    send: (type, payload = {}) => worker.postMessage({ type, ...payload }),
    stop: () => worker.terminate(),
  };
}
