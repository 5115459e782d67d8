/** SHA-256 of whole drafts: browsers have no digest that is fed piece by piece. */
import { storing } from './draft.js';

/** One draft after another, through one buffer: memory is that of a single shard and its copy. */
export class Hasher {
  #queue = Promise.resolve();
  #buffer = new Uint8Array(0);

  /** @returns {Promise<string>} lower-case hex */
  hash(draft) {
    const digest = this.#queue.then(() => this.#digest(draft));
    this.#queue = digest.catch(() => {});
    return digest;
  }

  async #digest(draft) {
    const bytes = await storing(() => draft.contents((count) => this.#room(count)));
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  #room(count) {
    if (count > this.#buffer.length) this.#buffer = new Uint8Array(count);
    return this.#buffer.subarray(0, count);
  }
}
