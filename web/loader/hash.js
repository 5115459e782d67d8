/** SHA-256 of whole files: browsers have no digest that is fed piece by piece. */
import { storing } from './draft.js';

/**
 * Computed by the browser beside this thread.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<string>} lower-case hex
 */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Room for one file after another. */
export class Room {
  #buffer = new Uint8Array(0);

  /** @returns {Uint8Array<ArrayBuffer>} of `count` bytes, until the next call */
  of(count) {
    if (count > this.#buffer.length) this.#buffer = new Uint8Array(count);
    return this.#buffer.subarray(0, count);
  }
}

/** One draft after another, through one buffer: memory is that of a single shard and its copy. */
export class Hasher {
  /** @type {Promise<unknown>} */
  #queue = Promise.resolve();
  #room = new Room();

  /** @returns {Promise<string>} lower-case hex */
  hash(draft) {
    const digest = this.#queue.then(() => this.#digest(draft));
    this.#queue = digest.catch(() => {});
    return digest;
  }

  async #digest(draft) {
    return sha256(await storing(() => draft.contents((count) => this.#room.of(count))));
  }
}
