/** A model's shards as the storages have them: which are here, and whether their bytes are right. */
import { StorageError, partOf } from './draft.js';
import { Room } from './hash.js';
import { isRight, noteVerdict, verify } from './verified.js';

const WEAKEST_FIRST = ['memory', 'cache', 'opfs'];

/** @import { Keeper } from './draft.js' */

/** @typedef {{ keeper: Keeper, stamp: string }} Home where a file is, and its stamp there */

export class KeptShards {
  #shards;
  #keepers;
  #homes = new Map(); // file -> its Home, where its length is right and its bytes may be
  #parts = new Map(); // file -> bytes of it that wait in the storage which takes the rest
  #changed = new Set(); // files that were kept and had other bytes than they should
  #checks = new Map(); // file -> the hashing of it that is going on

  /**
   * @param {import('./manifest.js').Shard[]} shards
   * @param {Keeper[]} keepers the storages, best first
   */
  constructor(shards, keepers) {
    this.#shards = shards;
    this.#keepers = keepers;
  }

  /**
   * Looks again: another tab may have downloaded or deleted.
   * @param {Keeper} taker of what comes
   */
  async survey(taker) {
    const homes = new Map();
    const parts = new Map();
    for (const keeper of this.#keepers) {
      const kept = new Map((await keeper.list()).map((entry) => [entry.name, entry]));
      for (const { file, bytes } of this.#shards) {
        if (homes.has(file)) continue;
        const found = kept.get(file);
        const home = { keeper, stamp: found?.stamp };
        if (found?.bytes === bytes && isRight(home, file) !== false) homes.set(file, home);
        else if (found) this.#changed.add(file);
        if (keeper === taker) parts.set(file, kept.get(partOf(file))?.bytes ?? 0);
      }
    }
    this.#homes = homes;
    this.#parts = parts;
  }

  /**
   * Hashes those of the shards that are here and were not hashed yet, or changed since; one whose
   * bytes are wrong is missing then. One at a time is in memory, and another that is waited for.
   * @param {number[]} indices
   * @param {AbortSignal} signal ends it
   */
  async verify(indices, signal) {
    const room = new Room();
    for (const index of indices) {
      if (signal.aborted) return;
      await this.#check(this.#shards[index], room);
    }
  }

  /** Nothing is hashed twice at a time. */
  #check(shard, room) {
    const { file } = shard;
    const home = this.#homes.get(file);
    if (!home || isRight(home, file)) return undefined;
    if (!this.#checks.has(file)) {
      const check = verify(home, shard, room).finally(() => this.#checks.delete(file));
      this.#checks.set(file, check.then(() => this.#judge(file, home)));
    }
    return this.#checks.get(file);
  }

  #judge(file, home) {
    const right = isRight(home, file);
    if (right === false) this.#changed.add(file);
    if (!right && this.#homes.get(file) === home) this.#homes.delete(file);
  }

  /** A shard that was downloaded and verified. */
  async add({ file }, keeper) {
    const home = { keeper, stamp: await keeper.stamp(file) };
    noteVerdict(home, file, true);
    this.#homes.set(file, home);
    this.#changed.delete(file);
  }

  has(file) {
    return this.#homes.has(file);
  }

  /** Bytes of a shard that are here and wait for the rest. */
  partBytes(file) {
    return this.#parts.get(file) ?? 0;
  }

  /** Bytes of these shards that are here, of whole ones and of parts. */
  bytes(indices) {
    return indices.map((index) => this.#shards[index]).reduce((sum, { file, bytes }) =>
      sum + (this.has(file) ? bytes : this.partBytes(file)), 0);
  }

  /** Those of the shards that are not here: [{ index, bytes }]. */
  missing(indices) {
    return indices.map((index) => ({ index, ...this.#shards[index] }))
      .filter(({ file }) => !this.has(file))
      .map(({ index, bytes }) => ({ index, bytes }));
  }

  /** { files, of }: how many of those that are missing had changed, of how many files; or null. */
  changed(indices) {
    const files = this.missing(indices)
      .filter(({ index }) => this.#changed.has(this.#shards[index].file)).length;
    return files ? { files, of: this.#homes.size + files } : null;
  }

  /** The storages that have any of them. */
  get used() {
    return new Set(Array.from(this.#homes.values(), ({ keeper }) => keeper));
  }

  /** The weakest kind among them; undefined for none. */
  get kind() {
    const kinds = Array.from(this.used, ({ kind }) => kind);
    return WEAKEST_FIRST.find((kind) => kinds.includes(kind));
  }

  /**
   * Of a verified shard, or as soon as it is.
   * @returns {Promise<Uint8Array>} `count` bytes of shard `index` from `offset` on
   * @throws {Error} it is gone, or has other bytes than it should
   */
  async read(index, offset, count) {
    const { file } = this.#shards[index];
    await this.#check(this.#shards[index], new Room());
    const home = this.#homes.get(file);
    if (!home || !isRight(home, file)) throw new StorageError(`${file} is not here`);
    const bytes = await home.keeper.read(file, offset, count, home.stamp);
    if (bytes.length !== count) throw new StorageError(`${file} is shorter than it was`);
    return bytes;
  }
}
