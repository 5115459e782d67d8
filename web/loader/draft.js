/**
 * A draft is a shard that is not verified yet; each storage opens drafts of its own:
 *
 *   received               bytes that it has, from the shard's start on
 *   write(bytes)           appends
 *   restart()              forgets them
 *   contents(room)         -> Uint8Array of what it has, in room(count) where it lies on disk
 *   keep()                 verified: from now on the storage has the shard
 *   close()                whatever happened; a draft that is not kept waits for the next time
 *   drop()                 in place of close: nothing is left of it
 */

/** @typedef {import('./manifest.js').Shard} Shard */

/** @typedef {(count: number) => Uint8Array<ArrayBuffer>} Room gives bytes to write to */

/**
 * @typedef {object} Draft
 * @property {number} received
 * @property {(bytes: Uint8Array<ArrayBuffer>) => void} write
 * @property {() => void} restart
 * @property {(room: Room) => Uint8Array<ArrayBuffer>} contents
 * @property {() => Promise<void>} keep
 * @property {() => Promise<void>} close
 * @property {() => Promise<void>} drop
 */

/**
 * A storage: opfs.js, cache.js, memory.js. `leave` is memory's alone; what keeps claims outlasts
 * the page.
 * @typedef {object} Keeper
 * @property {'opfs' | 'cache' | 'memory'} kind
 * @property {() => Promise<{ name: string, bytes: number, stamp: string }[]>} list
 * @property {(shard: Shard) => Promise<Draft>} open
 * @property {(name: string) => Promise<string | null>} stamp null: the file is gone
 * @property {(name: string) => Promise<void>} remove
 * @property {(file: string, offset: number, count: number, stamp?: string) =>
 *   Promise<Uint8Array<ArrayBuffer>>} read
 * @property {(name: string, room?: Room) =>
 *   Promise<Uint8Array<ArrayBuffer>>} [contents]
 * @property {() => Promise<import('./claims.js').Claim[]>} [claims]
 * @property {(claim: import('./claims.js').Claim) => Promise<void>} [saveClaim]
 * @property {(id: string) => Promise<void>} [removeClaim]
 * @property {() => void} [leave]
 */

/**
 * A storage that failed, full or refused: another one may take the shard. `full`: the disk is, or
 * what the browser allows this site of it.
 */
export class StorageError extends Error {
  /** @param {string} message @param {{ cause?: any }} [options] */
  constructor(message, options) {
    super(message, options);
    const { cause } = options ?? {};
    this.full = Boolean(cause?.full) || cause?.name === 'QuotaExceededError';
  }
}

/** Whatever fails in `work` is the storage's fault. */
export async function storing(work) {
  try {
    return await work();
  } catch (cause) {
    throw new StorageError(cause.message, { cause });
  }
}

/** Under which name a shard's first bytes wait for the rest. */
export const partOf = (file) => `${file}.part`;

/** The shard of a name in a storage, which may be its first bytes'. */
export const fileOf = (name) => name.replace(/\.part$/, '');

const NOTHING = new Uint8Array(0);

/** In memory until the shard is whole, for a storage that takes whole files only. */
export class BufferedDraft {
  #keeper;
  #shard;
  #bytes;
  #kept = false;
  received;

  /**
   * @param {{ save: (name: string, bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
   *   remove: (name: string) => Promise<void> }} keeper
   * @param {Shard} shard
   * @param {Uint8Array} part its first bytes, from another time
   */
  constructor(keeper, shard, part = NOTHING) {
    this.#keeper = keeper;
    this.#shard = shard;
    this.#bytes = new Uint8Array(shard.bytes);
    this.received = part.length <= shard.bytes ? part.length : 0;
    this.#bytes.set(part.subarray(0, this.received));
  }

  write(bytes) {
    this.#bytes.set(bytes, this.received);
    this.received += bytes.length;
  }

  restart() {
    this.received = 0;
  }

  contents() {
    return this.#bytes.subarray(0, this.received);
  }

  async keep() {
    await this.#keeper.save(this.#shard.file, this.#bytes);
    this.#kept = true;
    await this.#keeper.remove(partOf(this.#shard.file));
  }

  async close() {
    if (this.#kept || !this.received) return;
    await this.#keeper.save(partOf(this.#shard.file), this.contents());
  }

  async drop() {
    this.received = 0;
    await this.#keeper.remove(partOf(this.#shard.file));
  }
}
