/** What of the models is kept on this device, and how it is freed. */
import { InputError } from '../engine/errors.js';
import { CacheKeeper } from './cache.js';
import { partOf } from './draft.js';
import { tryLock } from './lock.js';
import { fetchManifest, resolve, sumBytes } from './manifest.js';
import { MemoryKeeper } from './memory.js';
import { OpfsKeeper } from './opfs.js';

/**
 * @param {string | URL} [manifestUrl] of one model; left out: of all models, old ones too
 * @returns {Promise<{ bytes: number, files: number, kind: 'opfs' | 'cache' | null }>} files begun
 *   and not complete count, too; kind is the storage that has the most, null for none
 * @throws {DownloadError | ModelError} the manifest cannot be had
 */
export async function storedBytes(manifestUrl) {
  const wanted = await filter(manifestUrl);
  const found = { bytes: 0, files: 0, kind: null };
  let most = 0;
  for (const keeper of await openAll()) {
    const entries = (await keeper.list()).filter(wanted);
    const bytes = sumBytes(entries);
    if (bytes > most) found.kind = keeper.kind;
    most = Math.max(most, bytes);
    found.bytes += bytes;
    found.files += entries.length;
  }
  return found;
}

/**
 * Frees it. A pipeline that is loaded can no longer read what it has not on the GPU: destroy it
 * first.
 * @param {string | URL} [manifestUrl] of one model; left out: all models, old ones too
 * @throws {InputError} a download is going on
 * @throws {DownloadError | ModelError} the manifest cannot be had
 */
export async function deleteModel(manifestUrl) {
  const wanted = await filter(manifestUrl);
  const release = await tryLock();
  if (!release) throw busy();
  try {
    MemoryKeeper.forget();
    for (const keeper of await openAll()) {
      for (const entry of (await keeper.list()).filter(wanted)) await keeper.remove(entry.name);
    }
  } catch (cause) {
    throw cause.name === 'NoModificationAllowedError' ? busy(cause) : cause;
  } finally {
    await release();
  }
}

function busy(cause) {
  return new InputError('A model is being downloaded here or in another tab, so it cannot be '
    + 'deleted: wait for it, or stop it first.', { cause });
}

async function filter(manifestUrl) {
  if (manifestUrl === undefined) return () => true;
  const { shards, onnx } = await fetchManifest(resolve(manifestUrl), { untilOnline: false });
  const all = [...shards, ...(onnx?.shards ?? [])];
  const names = new Set(all.flatMap(({ file }) => [file, partOf(file)]));
  return ({ name }) => names.has(name);
}

/** The storages that outlast the page, as far as this page may use them. */
async function openAll() {
  const opened = await Promise.allSettled([OpfsKeeper.open(), CacheKeeper.open()]);
  return opened.filter(({ value }) => value).map(({ value }) => value);
}
