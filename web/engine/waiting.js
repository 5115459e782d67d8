/** Waiting that can be ended: by an abort, or because nothing answers. */
import { throwIfAborted } from './errors.js';

/**
 * What `promise` comes to, unless `signal` is aborted first; then the result is dropped.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 * @throws {DOMException} named AbortError, at once
 */
export async function unlessAborted(promise, signal) {
  promise.catch(() => {}); // it may fail when nobody waits for it any more
  throwIfAborted(signal);
  if (!signal) return promise;
  const settled = new AbortController();
  const aborted = new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      try {
        throwIfAborted(signal);
      } catch (error) {
        reject(error);
      }
    }, { signal: settled.signal });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    settled.abort(); // takes the listener away
  }
}

/**
 * What `promise` comes to, unless that takes too long.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms Infinity: as long as it takes
 * @param {() => Error} late what is thrown then
 * @returns {Promise<T>}
 */
export async function within(promise, ms, late) {
  if (ms === Infinity) return promise;
  promise.catch(() => {});
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A signal that is aborted with the first of several. (AbortSignal.any is younger than the oldest
 * browser that draws.)
 * @param {(AbortSignal | undefined)[]} signals
 * @returns {{ signal: AbortSignal, leave: () => void }} leave: lets go of signals that live on
 */
export function anySignal(signals) {
  const controller = new AbortController();
  const left = new AbortController();
  for (const signal of signals.filter(Boolean)) {
    if (signal.aborted) controller.abort(signal.reason);
    signal.addEventListener('abort', () => controller.abort(signal.reason),
      { signal: left.signal });
  }
  return { signal: controller.signal, leave: () => left.abort() };
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
  const failed = new AbortController();
  const { signal: common, leave } = anySignal([signal, failed.signal]);
  const waiting = [...items];
  const worker = async () => {
    while (waiting.length) {
      throwIfAborted(common);
      await work(waiting.shift(), common);
    }
  };
  const workers = Array.from({ length: Math.min(parallel, items.length) }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    failed.abort();
    await Promise.allSettled(workers);
    throw error;
  } finally {
    leave();
  }
}
