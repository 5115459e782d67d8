/**
 * The model's files: downloaded once, verified by SHA-256, kept in the browser's private file
 * system or in memory.
 */
import { DownloadError } from '../engine/errors.js';
import { fetchFile } from './manifest.js';

const PARALLEL = 3;
const FOLDER = 'trefoil';

/**
 * Downloads what is not kept yet, apart from the shards that are only fetched on demand.
 * @param {object[]} shards all of the manifest's: { file, bytes, sha256, onDemand? }
 * @param {URL} base folder of the files
 * @param {{ storage?: 'auto' | 'opfs' | 'memory', signal?: AbortSignal,
 *   onProgress?: (p: object) => void }} options
 * @returns {Promise<ShardStore>}
 * @throws {DownloadError} a file is missing, or its bytes are wrong twice
 */
export async function openShards(shards, base, options = {}) {
  const store = new ShardStore(shards, base, await openKeeper(options.storage ?? 'auto'));
  const first = [...shards.keys()].filter((index) => !shards[index].onDemand);
  await store.fetch(first, options);
  return store;
}

export class ShardStore {
  #shards;
  #base;
  #keeper;

  constructor(shards, base, keeper) {
    this.#shards = shards;
    this.#base = base;
    this.#keeper = keeper;
  }

  /**
   * Downloads those of the shards that are not kept yet.
   * @param {number[]} indices
   * @param {{ signal?: AbortSignal, onProgress?: (p: object) => void }} options
   */
  async fetch(indices, { signal, onProgress = () => {} }) {
    const waiting = indices.map((index) => this.#shards[index]);
    const totalBytes = waiting.reduce((sum, { bytes }) => sum + bytes, 0);
    let loadedBytes = 0;
    const advance = (bytes, file) => {
      loadedBytes += bytes;
      onProgress({ phase: 'download', loadedBytes, totalBytes, file });
    };
    const abort = new AbortController();
    const stop = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    const worker = async () => {
      for (let shard = waiting.shift(); shard; shard = waiting.shift()) {
        const { file } = shard;
        if (await this.#keeper.has(shard)) {
          advance(shard.bytes, file);
          continue;
        }
        const bytes = await download(shard, new URL(file, this.#base), stop,
          (count) => advance(count, file));
        await this.#keeper.put(shard, bytes);
      }
    };
    try {
      await Promise.all(Array.from({ length: PARALLEL }, worker));
    } catch (error) {
      abort.abort();
      throw error;
    }
  }

  /** Those of the shards that `fetch` would download: [{ index, bytes }]. */
  async missing(indices) {
    const kept = await Promise.all(indices.map((index) => this.#keeper.has(this.#shards[index])));
    return indices.filter((_, i) => !kept[i])
      .map((index) => ({ index, bytes: this.#shards[index].bytes }));
  }

  /** @returns {Promise<Uint8Array>} `bytes` bytes of shard `index` from `offset` on */
  read(index, offset, bytes) {
    return this.#keeper.read(this.#shards[index], offset, bytes);
  }
}

/**
 * One verified shard.
 * Wrong bytes may come from a cache on the way, so they are fetched once more, past it.
 */
async function download(shard, url, signal, advance) {
  let got;
  for (const cache of ['default', 'reload']) {
    const { bytes, received } = await receive(shard, url, { signal, cache }, advance);
    got = bytes ? await sha256(bytes) : `${received} bytes`;
    if (got === shard.sha256) return bytes;
    advance(-received);
  }
  throw new DownloadError(`${url} is damaged: got ${got}, expected SHA-256 ${shard.sha256} of `
    + `${shard.bytes} bytes. Upload the file again, or build the site again.`);
}

/**
 * @returns {Promise<{ bytes: Uint8Array | null, received: number }>} bytes null: not as many as
 *   announced
 */
async function receive(shard, url, options, advance) {
  const response = await fetchFile(url, options);
  const bytes = new Uint8Array(shard.bytes);
  let received = 0;
  const reader = response.body.getReader();
  for (let piece = await read(reader, url); !piece.done; piece = await read(reader, url)) {
    const { value } = piece;
    if (received + value.length > bytes.length) {
      await reader.cancel();
      return { bytes: null, received };
    }
    bytes.set(value, received);
    received += value.length;
    advance(value.length);
  }
  return { bytes: received === bytes.length ? bytes : null, received };
}

async function read(reader, url) {
  try {
    return await reader.read();
  } catch (cause) {
    if (cause.name === 'AbortError') throw cause;
    throw new DownloadError(`${url} broke off: ${cause.message}. `
      + 'Check the connection and try again.', { cause });
  }
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** OPFS where it can be had (it cannot in some frames and private windows), else memory. */
async function openKeeper(storage) {
  if (storage === 'memory') return new MemoryKeeper();
  try {
    const root = await navigator.storage.getDirectory();
    return new OpfsKeeper(await root.getDirectoryHandle(FOLDER, { create: true }));
  } catch (cause) {
    if (storage === 'opfs') {
      throw new DownloadError(`This page may not keep files: ${cause.message}.`, { cause });
    }
    return new MemoryKeeper();
  }
}

class MemoryKeeper {
  #files = new Map();

  async has({ file }) {
    return this.#files.has(file);
  }

  async put({ file }, bytes) {
    this.#files.set(file, bytes);
  }

  async read({ file }, offset, count) {
    return this.#files.get(file).subarray(offset, offset + count);
  }
}

/** One file a shard, named by its hash; a file of the right length was verified when written. */
class OpfsKeeper {
  #folder;
  #memory = new MemoryKeeper();

  constructor(folder) {
    this.#folder = folder;
  }

  async has({ file, bytes }) {
    try {
      return (await (await this.#folder.getFileHandle(file)).getFile()).size === bytes;
    } catch {
      return false;
    }
  }

  /** Falls back to memory when the disk is full or writing is refused: the picture matters more. */
  async put(shard, bytes) {
    try {
      const handle = await this.#folder.getFileHandle(shard.file, { create: true });
      await (handle.createWritable ? writeStream(handle, bytes) : writeSync(handle, bytes));
    } catch {
      await this.#folder.removeEntry(shard.file).catch(() => {});
      await this.#memory.put(shard, bytes);
    }
  }

  async read(shard, offset, count) {
    if (await this.#memory.has(shard)) return this.#memory.read(shard, offset, count);
    const file = await (await this.#folder.getFileHandle(shard.file)).getFile();
    return new Uint8Array(await file.slice(offset, offset + count).arrayBuffer());
  }
}

/** Atomic: the file has its bytes only once the stream is closed. */
async function writeStream(handle, bytes) {
  const stream = await handle.createWritable();
  await stream.write(bytes);
  await stream.close();
}

/** For Safari before 26, which has only this, in workers. */
async function writeSync(handle, bytes) {
  const access = await handle.createSyncAccessHandle();
  try {
    access.truncate(0);
    access.write(bytes, { at: 0 });
    access.flush();
  } finally {
    access.close();
  }
}
