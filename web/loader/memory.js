/** Shards in the page's memory, for as long as the page lives. */
import { BufferedDraft, partOf } from './draft.js';

/** What a load that was aborted or failed had in memory already; the next one takes it over. */
/** @type {MemoryKeeper | null} */
let left = null;

export class MemoryKeeper {
  kind = /** @type {const} */ ('memory');
  #files = new Map();

  /** @param {import('./manifest.js').Shard[]} [shards] nothing else stays */
  static open(shards) {
    const keeper = left ?? new MemoryKeeper();
    left = null;
    const wanted = new Set(shards.flatMap(({ file }) => [file, partOf(file)]));
    for (const name of keeper.#files.keys()) {
      if (!wanted.has(name)) keeper.#files.delete(name);
    }
    return keeper;
  }

  /** Frees what was left. */
  static forget() {
    left = null;
  }

  leave() {
    left = this;
  }

  async list() {
    return Array.from(this.#files, ([name, { length: bytes }]) => ({ name, bytes, stamp: '' }));
  }

  async open(shard) {
    return new BufferedDraft(this, shard, this.#files.get(partOf(shard.file)));
  }

  async save(name, bytes) {
    this.#files.set(name, bytes);
  }

  async remove(name) {
    this.#files.delete(name);
  }

  async stamp(name) {
    return this.#files.has(name) ? '' : null;
  }

  async read(file, offset, count) {
    return this.#files.get(file).subarray(offset, offset + count);
  }
}
