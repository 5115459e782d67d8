/**
 * The model's files: downloaded once, verified by SHA-256 then and in each session, kept in the best
 * storage that the browser grants. What an abort, a reload or a killed tab leaves, the next load
 * goes on with; what was deleted or has changed is fetched again when it is needed.
 */
import { DownloadError, throwIfAborted } from '../engine/errors.js';
import { together } from '../engine/waiting.js';
import { CacheKeeper } from './cache.js';
import { note, removeReplaced } from './claims.js';
import { download } from './download.js';
import { StorageError, storing } from './draft.js';
import { Hasher } from './hash.js';
import { KeptShards } from './kept.js';
import { takeLock, tellInUse } from './lock.js';
import { sumBytes } from './manifest.js';
import { MemoryKeeper } from './memory.js';
import { OpfsKeeper } from './opfs.js';
import { Progress } from './progress.js';

/** @typedef {{ signal?: AbortSignal, onProgress?: import('./progress.js').OnProgress }} Hooks */

const PARALLEL = 3;

/**
 * So much is hashed before a model counts as loaded: less than half a second. Of a larger one the
 * hashing goes on beside, and a picture waits for a shard when it first reads of it.
 */
const WAITED_BYTES = 256e6;

/** What each choice tries, best first. A disk that gets full midway ends in memory. */
const CHOICES = {
  auto: [OpfsKeeper, CacheKeeper, MemoryKeeper],
  opfs: [OpfsKeeper, MemoryKeeper],
  cache: [CacheKeeper, MemoryKeeper],
  memory: [MemoryKeeper],
};
export const STORAGES = Object.keys(CHOICES);

/**
 * Looks up what is kept; downloads nothing.
 * @param {import('./manifest.js').Shard[]} shards all of the manifest's
 * @param {URL} base folder of the files
 * @param {'auto' | 'opfs' | 'cache' | 'memory'} [storage]
 * @param {import('./claims.js').Claim} [claim] whose files they are; without one they are nobody's
 * @returns {Promise<ShardStore>}
 * @throws {DownloadError} the storage that was asked for is refused
 */
export async function openShards(shards, base, storage = 'auto', claim = null) {
  const keepers = [];
  for (const Keeper of CHOICES[storage]) {
    try {
      keepers.push(await Keeper.open(shards));
    } catch (cause) {
      if (storage === 'auto') continue; // refused in some frames and private windows
      throw new DownloadError(`This page may not keep files: ${cause.message}.`, { cause });
    }
  }
  const store = new ShardStore(shards, base, keepers, claim);
  await store.survey();
  return store;
}

export class ShardStore {
  #shards;
  #base;
  #keepers;
  #takers; // those that take further shards; the first one does
  #claim;
  #kept;
  #closed = new AbortController();
  #hashing = null; // what goes on beside
  /** @type {Hooks} */
  #hooks = {}; // of the last `ensure`
  #recovering = Promise.resolve();
  #notKept = null;

  /**
   * @param {import('./manifest.js').Shard[]} shards
   * @param {URL} base
   * @param {import('./draft.js').Keeper[]} keepers best first
   * @param {import('./claims.js').Claim | null} claim
   */
  constructor(shards, base, keepers, claim) {
    this.#shards = shards;
    this.#base = base;
    this.#keepers = keepers;
    this.#takers = [...keepers];
    this.#claim = claim;
    this.#kept = new KeptShards(shards, keepers);
    if (claim) tellInUse(claim.id, this.#closed.signal);
  }

  /** Looks again: another tab may have downloaded or deleted meanwhile. */
  survey() {
    return this.#kept.survey(this.#takers[0]);
  }

  /**
   * Hashes what is kept of these shards; one that has other bytes than it should is missing then.
   * Unless they are a lot, that is waited for.
   * @param {number[]} indices
   */
  async verify(indices) {
    const { signal } = this.#closed;
    if (sumBytes(indices.map((index) => this.#shards[index])) <= WAITED_BYTES) {
      return this.#kept.verify(indices, signal);
    }
    this.#hashing ??= this.#kept.verify(indices, signal).catch(() => {}) // `read` meets it again
      .then(() => { this.#hashing = null; });
  }

  /** Indices of the shards that a first picture needs. */
  get first() {
    return [...this.#shards.keys()].filter((index) => !this.#shards[index].onDemand);
  }

  /** The weakest storage that is in use: 'opfs' | 'cache' | 'memory'. */
  get kind() {
    return this.#kept.kind ?? this.#takers[0].kind;
  }

  /** Why what came last is in memory only: 'full', the disk, or 'refused'; null: it is not. */
  get notKept() {
    return this.#notKept;
  }

  /** Bytes of these shards that are kept, of whole ones and of parts. */
  keptBytes(indices) {
    return this.#kept.bytes(indices);
  }

  /** Those of the shards that `fetch` would download: [{ index, bytes }]. */
  missing(indices) {
    return this.#kept.missing(indices);
  }

  /**
   * Verifies the shards and downloads those that are not kept, while no other tab does.
   * @param {number[]} indices
   * @param {Hooks} [hooks]
   * @throws {DownloadError | DOMException} what has arrived stays; all files are closed
   */
  async fetch(indices, { signal = new AbortController().signal, onProgress = () => {} } = {}) {
    throwIfAborted(signal);
    const totalBytes = indices.reduce((sum, index) => sum + this.#shards[index].bytes, 0);
    const progress = new Progress(onProgress, totalBytes);
    await this.verify(indices);
    throwIfAborted(signal);
    if (!this.missing(indices).length) {
      progress.begin(totalBytes);
      return this.#settle();
    }
    // What only memory keeps is of no use to other tabs.
    const release = this.#takers[0].kind === 'memory' ? async () => {}
      : await takeLock(signal, () => progress.wait(this.keptBytes(indices)));
    let changed = null;
    try {
      await this.survey();
      await this.verify(indices);
      throwIfAborted(signal);
      changed = this.#kept.changed(indices);
      progress.tell({ changed });
      progress.begin(this.keptBytes(indices));
      await this.#claimIn(this.#takers[0]);
      await this.#fetchAll(this.missing(indices), signal, progress);
      await this.#settle();
    } catch (error) {
      throw changed && error instanceof DownloadError ? withReason(error, changed) : error;
    } finally {
      progress.end();
      await release();
    }
  }

  /**
   * Before a picture: fetches what it needs and is not here any more, or has changed; tells nothing
   * where nothing lacks.
   * @param {number[]} indices
   * @param {Hooks} [hooks] `read` has them, too, until the next call
   */
  async ensure(indices, hooks = {}) {
    this.#hooks = hooks;
    await this.survey();
    await this.verify(indices);
    throwIfAborted(hooks.signal);
    const missing = this.missing(indices).map(({ index }) => index);
    if (missing.length) await this.fetch(missing, hooks);
  }

  /** Nothing is read any more. */
  close() {
    this.#closed.abort();
  }

  /** After a load that failed: what memory holds is for the next one. */
  leave() {
    this.close();
    this.#keepers.find(({ kind }) => kind === 'memory').leave();
  }

  /**
   * A shard that was deleted or has changed meanwhile is fetched again first.
   * @returns {Promise<Uint8Array>} `bytes` bytes of shard `index` from `offset` on
   * @throws {DownloadError | DOMException} it cannot be had; the last one named AbortError
   */
  async read(index, offset, bytes) {
    try {
      return await this.#kept.read(index, offset, bytes);
    } catch {
      await this.#recover(index);
    }
    try {
      return await this.#kept.read(index, offset, bytes);
    } catch (cause) {
      throw new DownloadError(`${this.#shards[index].file} cannot be read on this device: `
        + `${cause.message}. Reload the page.`, { cause });
    }
  }

  /** One after another: those that wait find it done. */
  #recover(index) {
    const recovery = this.#recovering.then(() => this.ensure([index], this.#hooks));
    this.#recovering = recovery.catch(() => {});
    return recovery;
  }

  async #claimIn(keeper) {
    if (this.#claim && keeper.kind !== 'memory') await note(keeper, this.#claim);
  }

  /** When a first picture's shards are whole: notes whose they are; those of earlier builds go. */
  async #settle() {
    if (!this.#claim || this.missing(this.first).length) return;
    for (const keeper of this.#keepers.filter(({ kind }) => kind !== 'memory')) {
      if (this.#kept.used.has(keeper)) await this.#claimIn(keeper);
      await removeReplaced(keeper, this.#claim);
    }
  }

  async #fetchAll(missing, signal, progress) {
    const hasher = new Hasher();
    await together(missing.map(({ index }) => this.#shards[index]), PARALLEL, signal,
      (shard, common) => this.#fetchOne(shard, { signal: common, hasher }, progress));
  }

  /** Into the first storage that takes it; what one that fails has of it already, the next gets. */
  async #fetchOne(shard, job, progress) {
    const url = new URL(shard.path ?? shard.file, this.#base);
    let counted = this.#kept.partBytes(shard.file);
    const advance = (bytes) => {
      counted += bytes;
      progress.advance(bytes, shard.file);
    };
    const onWait = (wait) => progress.pause(shard.file, wait);
    let carried = null;
    while (!this.#kept.has(shard.file)) {
      const [keeper] = this.#takers;
      const cache = keeper.kind === 'memory' ? 'default' : 'no-store'; // a disk has it once
      let draft = null;
      try {
        draft = await keeper.open(shard);
        if (carried) {
          draft.restart();
          draft.write(carried);
        }
        if (draft.received !== counted) advance(draft.received - counted);
        await download(shard, url, draft, { ...job, cache, advance, onWait });
        await storing(() => draft.keep());
        await storing(() => this.#kept.add(shard, keeper));
      } catch (error) {
        if (!(error instanceof StorageError) || keeper.kind === 'memory') throw error;
        carried = await this.#giveUp(keeper, draft);
        this.#tellNotKept(error, progress);
      } finally {
        await draft?.close().catch(() => {});
      }
    }
  }

  /** Once only memory is left. */
  #tellNotKept({ full }, progress) {
    if (this.#takers[0].kind !== 'memory') return;
    this.#notKept ??= full ? 'full' : 'refused';
    progress.tell({ notKept: this.#notKept });
  }

  /** No further shard goes to a storage that failed. @returns what its draft holds, if any */
  async #giveUp(keeper, draft) {
    if (this.#takers[0] === keeper) this.#takers.shift();
    try {
      const bytes = draft.contents((count) => new Uint8Array(count));
      await draft.drop();
      return bytes;
    } catch {
      return null;
    }
  }
}

function withReason(error, { files, of }) {
  return new DownloadError(`${files} of ${of} files of the model had changed on this device and `
    + `cannot be used. ${error.message}`, { cause: error });
}
