/** The page's side of the worker protocol (written down in worker.js). */
import { throwIfUpdated } from '../loader/updated.js';

const WORKER_URL = new URL('worker.js', import.meta.url);
/**
 * A worker that comes from an address on the host has the policy of the host's answer, which many
 * hosts do not send; one from an address that the page makes inherits the page's.
 */
const START = URL.createObjectURL(
  new Blob([`import ${JSON.stringify(WORKER_URL)};`], { type: 'text/javascript' }));

let worker = null;

/**
 * Starts the worker, in place of the last one.
 * @param {Record<string, (message: object) => void>} on one handler per message type
 */
export function startWorker(on) {
  worker?.terminate();
  worker = new Worker(START, { type: 'module' });
  worker.onmessage = ({ data }) => on[data.type](data);
  worker.onerror = async (event) => {
    event.preventDefault();
    const failed = { name: 'WorkerError', message: event.message ?? '' };
    const { name, message } = await throwIfUpdated().then(() => failed, (error) => error);
    on.error({ job: 'worker', name, message });
  };
}

export function send(type, payload = {}) {
  worker.postMessage({ type, ...payload });
}
