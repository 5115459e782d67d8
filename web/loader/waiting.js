/** Waits of the fetch: for a while, and for the next sign of life. */
import { anySignal, unlessAborted } from '../engine/waiting.js';

/**
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @param {{ untilOnline?: boolean }} [options] untilOnline: also ends when the network is back
 * @returns {Promise<void>}
 */
export async function sleep(ms, signal, { untilOnline = false } = {}) {
  let timer, wake;
  /** @type {Promise<void>} */
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

/** One request, which is given up when nothing comes of it for a while. */
export class Watch {
  #own = new AbortController();
  #either;
  #ms;
  stalled = false;

  /** @param {AbortSignal | undefined} signal the caller's @param {number} ms */
  constructor(signal, ms) {
    this.#either = anySignal([signal, this.#own.signal]);
    this.#ms = ms;
  }

  /** For fetch. */
  get signal() {
    return this.#either.signal;
  }

  /** What the promise, the next sign of life, settles to. */
  async next(promise) {
    const timer = setTimeout(() => {
      this.stalled = true;
      this.#own.abort();
    }, this.#ms);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Nothing more of it is wanted. */
  end() {
    this.#own.abort();
    this.#either.leave();
  }
}
