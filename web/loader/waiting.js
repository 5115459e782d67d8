/** Waits that end at once when the caller gives up. Nothing here needs AbortSignal.any. */
import { throwIfAborted } from '../engine/errors.js';

/** A controller that aborts when `signal` does; call `end` when it is of no use any more. */
export function linked(signal) {
  const controller = new AbortController();
  const stop = () => controller.abort(signal.reason);
  if (signal?.aborted) stop();
  else signal?.addEventListener('abort', stop, { once: true });
  return { controller, end: () => signal?.removeEventListener('abort', stop) };
}

/**
 * What `promise` settles to, or an AbortError as soon as the signal says so.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function unlessAborted(promise, signal) {
  throwIfAborted(signal);
  if (!signal) return promise;
  let stop;
  const aborted = new Promise((resolve) => {
    stop = resolve;
    signal.addEventListener('abort', stop, { once: true });
  });
  promise.catch(() => {}); // after an abort nobody waits for it
  try {
    const result = await Promise.race([promise, aborted]);
    throwIfAborted(signal);
    return result;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** @param {{ untilOnline?: boolean }} [options] untilOnline: also ends when the network is back */
export async function sleep(ms, signal, { untilOnline = false } = {}) {
  let timer, wake;
  const over = new Promise((resolve) => {
    wake = resolve;
    timer = setTimeout(resolve, ms);
    if (untilOnline) globalThis.addEventListener?.('online', wake);
  });
  try {
    await unlessAborted(over, signal);
  } finally {
    clearTimeout(timer);
    globalThis.removeEventListener?.('online', wake);
  }
}

/**
 * Runs `work` on all items, `parallel` at a time. The first that fails ends the others, each of
 * which comes to its own end before the failure is thrown.
 * @param {any[]} items
 * @param {number} parallel
 * @param {AbortSignal | undefined} signal
 * @param {(item: any, signal: AbortSignal) => Promise<void>} work
 */
export async function together(items, parallel, signal, work) {
  const { controller, end } = linked(signal);
  const waiting = [...items];
  const worker = async () => {
    while (waiting.length) {
      throwIfAborted(controller.signal);
      await work(waiting.shift(), controller.signal);
    }
  };
  const workers = Array.from({ length: Math.min(parallel, items.length) }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    controller.abort();
    await Promise.allSettled(workers);
    throw error;
  } finally {
    end();
  }
}

/** One request, which is given up when nothing comes of it for a while. */
export class Watch {
  #link;
  #ms;
  stalled = false;

  /** @param {AbortSignal | undefined} signal the caller's @param {number} ms */
  constructor(signal, ms) {
    this.#link = linked(signal);
    this.#ms = ms;
  }

  /** For fetch. */
  get signal() {
    return this.#link.controller.signal;
  }

  /** What the promise, the next sign of life, settles to. */
  async next(promise) {
    const timer = setTimeout(() => {
      this.stalled = true;
      this.#link.controller.abort();
    }, this.#ms);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Nothing more of it is wanted. */
  end() {
    this.#link.end();
    this.#link.controller.abort();
  }
}
