/**
 * The model's files: downloaded once, verified by SHA-256, kept in the best storage that the
 * browser grants. What an abort, a reload or a killed tab leaves, the next load goes on with.
 */
import { DownloadError, throwIfAborted } from '../engine/errors.js';
import { together } from '../engine/waiting.js';
import { CacheKeeper } from './cache.js';
import { download } from './download.js';
import { StorageError, partOf, storing } from './draft.js';
import { Hasher } from './hash.js';
import { takeLock } from './lock.js';
import { MemoryKeeper } from './memory.js';
import { OpfsKeeper } from './opfs.js';
import { Progress } from './progress.js';

const PARALLEL = 3;

/** What each choice tries, best first. A disk that gets full midway ends in memory. */
const CHOICES = {
  auto: [OpfsKeeper, CacheKeeper, MemoryKeeper],
  opfs: [OpfsKeeper, MemoryKeeper],
  cache: [CacheKeeper, MemoryKeeper],
  memory: [MemoryKeeper],
};
export const STORAGES = Object.keys(CHOICES);
const WEAKEST_FIRST = ['memory', 'cache', 'opfs'];

/**
 * Looks up what is kept; downloads nothing.
 * @param {object[]} shards all of the manifest's: { file, bytes, sha256, onDemand?, path? }; where
 *   there is a path, it is fetched from there
 * @param {URL} base folder of the files
 * @param {'auto' | 'opfs' | 'cache' | 'memory'} [storage]
 * @returns {Promise<ShardStore>}
 * @throws {DownloadError} the storage that was asked for is refused
 */
export async function openShards(shards, base, storage = 'auto') {
  const keepers = [];
  for (const Keeper of CHOICES[storage]) {
    try {
      keepers.push(await Keeper.open(shards));
    } catch (cause) {
      if (storage === 'auto') continue; // refused in some frames and private windows
      throw new DownloadError(`This page may not keep files: ${cause.message}.`, { cause });
    }
  }
  const store = new ShardStore(shards, base, keepers);
  await store.survey();
  return store;
}

export class ShardStore {
  #shards;
  #base;
  #keepers;
  #takers; // those that take further shards; the first one does
  #homes = new Map(); // file -> the keeper that has it, verified
  #parts = new Map(); // file -> bytes of it that are kept, but not all

  constructor(shards, base, keepers) {
    this.#shards = shards;
    this.#base = base;
    this.#keepers = keepers;
    this.#takers = [...keepers];
  }

  /** Looks again: another tab may have downloaded meanwhile. */
  async survey() {
    this.#homes.clear();
    this.#parts.clear();
    for (const keeper of this.#keepers) {
      const kept = new Map((await keeper.list()).map(({ name, bytes }) => [name, bytes]));
      for (const { file, bytes } of this.#shards) {
        if (this.#homes.has(file)) continue;
        if (kept.get(file) === bytes) this.#homes.set(file, keeper);
        else if (keeper === this.#takers[0]) this.#parts.set(file, kept.get(partOf(file)) ?? 0);
      }
    }
  }

  /** Indices of the shards that a first picture needs. */
  get first() {
    return [...this.#shards.keys()].filter((index) => !this.#shards[index].onDemand);
  }

  /** The weakest storage that is in use: 'opfs' | 'cache' | 'memory'. */
  get kind() {
    const used = new Set(Array.from(this.#homes.values(), ({ kind }) => kind));
    return WEAKEST_FIRST.find((kind) => used.has(kind)) ?? this.#takers[0].kind;
  }

  /** Bytes of these shards that are kept, of whole ones and of parts. */
  keptBytes(indices) {
    return indices.map((index) => this.#shards[index]).reduce((sum, { file, bytes }) =>
      sum + (this.#homes.has(file) ? bytes : this.#parts.get(file) ?? 0), 0);
  }

  /** Those of the shards that `fetch` would download: [{ index, bytes }]. */
  missing(indices) {
    return indices.map((index) => ({ index, ...this.#shards[index] }))
      .filter(({ file }) => !this.#homes.has(file))
      .map(({ index, bytes }) => ({ index, bytes }));
  }

  /**
   * Downloads those of the shards that are not kept yet, while no other tab does.
   * @param {number[]} indices
   * @param {{ signal?: AbortSignal, onProgress?: (progress: object) => void }} options what
   *   Progress tells
   * @throws {DownloadError | DOMException} what has arrived stays; all files are closed
   */
  async fetch(indices, { signal = new AbortController().signal, onProgress = () => {} } = {}) {
    throwIfAborted(signal);
    const totalBytes = indices.reduce((sum, index) => sum + this.#shards[index].bytes, 0);
    const progress = new Progress(onProgress, totalBytes);
    if (!this.missing(indices).length) return progress.begin(totalBytes);
    // What only memory keeps is of no use to other tabs.
    const release = this.#takers[0].kind === 'memory' ? async () => {}
      : await takeLock(signal, () => progress.wait(this.keptBytes(indices)));
    try {
      await this.survey();
      progress.begin(this.keptBytes(indices));
      await this.#fetchAll(this.missing(indices), signal, progress);
    } finally {
      progress.end();
      await release();
    }
  }

  /** After a load that failed: what memory holds is for the next one. */
  leave() {
    this.#keepers.find(({ kind }) => kind === 'memory').leave();
  }

  /**
   * @returns {Promise<Uint8Array>} `bytes` bytes of shard `index` from `offset` on
   * @throws {DownloadError} it was deleted meanwhile
   */
  async read(index, offset, bytes) {
    const shard = this.#shards[index];
    try {
      return await this.#homes.get(shard.file).read(shard, offset, bytes);
    } catch (cause) {
      throw new DownloadError(`${shard.file} is no longer kept on this device: ${cause.message}. `
        + 'Load the model again.', { cause });
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
    let counted = this.#parts.get(shard.file) ?? 0;
    const advance = (bytes) => {
      counted += bytes;
      progress.advance(bytes, shard.file);
    };
    const onWait = (wait) => progress.pause(shard.file, wait);
    let carried = null;
    while (!this.#homes.has(shard.file)) {
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
        this.#homes.set(shard.file, keeper);
      } catch (error) {
        if (!(error instanceof StorageError) || keeper.kind === 'memory') throw error;
        carried = await this.#giveUp(keeper, draft);
      } finally {
        await draft?.close().catch(() => {});
      }
    }
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
