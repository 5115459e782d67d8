/** What of the models is kept on this device, and how it is freed. */
import { InputError } from '../engine/errors.js';
import { CacheKeeper } from './cache.js';
import { addressOf, filesOf, remove } from './claims.js';
import { fileOf } from './draft.js';
import { tryLock } from './lock.js';
import { fetchManifest, resolve, sumBytes } from './manifest.js';
import { MemoryKeeper } from './memory.js';
import { OpfsKeeper } from './opfs.js';

/**
 * @param {string | URL} [manifestUrl] of one model, of which earlier builds count too; left out: of
 *   all models that any site of this origin keeps
 * @returns {Promise<{ bytes: number, files: number, kind: 'opfs' | 'cache' | null }>} files begun
 *   and not complete count, too; kind is the storage that has the most, null for none
 * @throws {DownloadError | ModelError} the manifest is needed and cannot be had: there are files
 *   here from before it was noted whose they are
 */
export async function storedBytes(manifestUrl) {
  const found = { bytes: 0, files: 0, kind: null };
  let most = 0;
  for (const keeper of await openAll()) {
    const { entries } = await belongings(keeper, manifestUrl);
    const bytes = sumBytes(entries);
    if (bytes > most) found.kind = keeper.kind;
    most = Math.max(most, bytes);
    found.bytes += bytes;
    found.files += entries.length;
  }
  return found;
}

/**
 * Frees it. A pipeline that is loaded, here or in another tab, downloads what it needs again when it
 * draws next.
 * @param {string | URL} [manifestUrl] of one model, of which earlier builds go too; left out: all
 *   models that any site of this origin keeps
 * @returns {Promise<{ sharedBytes: number }>} of files that stay, because another model has them
 * @throws {InputError} a download is going on, or the browser refuses
 * @throws {DownloadError | ModelError} as storedBytes
 */
export async function deleteModel(manifestUrl) {
  const release = await tryLock();
  if (!release) throw busy();
  let sharedBytes = 0;
  try {
    for (const keeper of await openAll()) {
      const { entries, claims } = await belongings(keeper, manifestUrl);
      MemoryKeeper.forget();
      const stay = await remove(keeper, claims, entries.map(({ name }) => fileOf(name)));
      sharedBytes += sumBytes(entries.filter(({ name }) => stay.has(fileOf(name))));
    }
  } catch (cause) {
    throw cause instanceof DOMException ? refusal(cause) : cause;
  } finally {
    await release();
  }
  return { sharedBytes };
}

function refusal(cause) {
  if (cause.name === 'NoModificationAllowedError') return busy(cause);
  return new InputError(`The browser did not delete all of the model: ${cause.message}. Close other `
    + "tabs of this site and try again, or clear the site's data in the browser's settings.",
  { cause });
}

function busy(cause) {
  return new InputError('A model is being downloaded or checked here or in another tab, so it '
    + 'cannot be deleted: wait for it, or stop it first.', { cause });
}

/**
 * What of a storage is one model's, or with undefined all.
 * @returns {Promise<{ entries: { name: string, bytes: number }[],
 *   claims: import('./claims.js').Claim[] }>}
 */
async function belongings(keeper, manifestUrl) {
  const [all, claims] = [await keeper.list(), await keeper.claims()];
  if (manifestUrl === undefined) return { entries: all, claims };
  const url = resolve(manifestUrl);
  const own = claims.filter(({ manifest }) => manifest === addressOf(url));
  const files = new Set(own.flatMap((claim) => claim.files));
  const claimed = new Set(claims.flatMap((claim) => claim.files));
  if (all.some(({ name }) => !claimed.has(fileOf(name)))) {
    // Files from before there were claims, or from a download that could note none.
    const manifest = await fetchManifest(url, { untilOnline: false }).catch((error) => {
      if (!own.length) throw error;
    });
    for (const file of manifest ? filesOf(manifest) : []) {
      if (!claimed.has(file)) files.add(file);
    }
  }
  return { entries: all.filter(({ name }) => files.has(fileOf(name))), claims: own };
}

/**
 * The storages that outlast the page, as far as this page may use them.
 * @returns {Promise<import('./draft.js').Keeper[]>}
 */
async function openAll() {
  const opened = await Promise.allSettled([OpfsKeeper.open(), CacheKeeper.open()]);
  return opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}
