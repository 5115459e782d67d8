/** The page's side of the worker protocol (written down in worker.js). */
import { checkModules } from '../loader/modules.js';
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
 * @param {Record<string, (message: any) => void>} on one handler per message type
 */
export function startWorker(on) {
  worker?.terminate();
  worker = null;
  try {
    worker = new Worker(START, { type: 'module' });
  } catch ({ name, message }) {
    on.error({ job: 'worker', name, message });
    return;
  }
  worker.onmessage = ({ data }) => on[data.type](data);
  worker.onmessageerror = () => {
    on.error({ job: 'worker', name: 'WorkerError', message: 'a message could not be read' });
  };
  worker.onerror = async (event) => {
    event.preventDefault();
    const failed = { name: 'WorkerError', message: event.message ?? '' };
    // A worker that could not be loaded does not say why: then one of its modules does not come.
    const look = event.message ? throwIfUpdated : checkWorker;
    const { name, message } = await look().then(() => failed, (error) => error);
    on.error({ job: 'worker', name, message });
  };
}

/** @throws {UpdatedError | Error} what keeps the worker from starting; the latter a ModuleError */
async function checkWorker() {
  await throwIfUpdated();
  await checkModules(WORKER_URL, { untilOnline: false }).catch((error) => {
    throw Object.assign(new Error(error.message), { name: 'ModuleError' });
  });
}

export function send(type, payload = {}) {
  worker?.postMessage({ type, ...payload });
}
