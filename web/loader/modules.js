/** The browser fetches modules itself, and does not say what was wrong with one: this finds out. */
import { DownloadError, throwIfAborted } from '../engine/errors.js';
import { unlessAborted } from '../engine/waiting.js';
import { fetchText, lookForUpdate } from './fetching.js';
import { LIMITS } from './patience.js';
import { sleep } from './waiting.js';

/** What a module imports, by a path of its own. Those in comments are types. */
const IMPORTS = /\b(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;

const COMMENTS = /\/\*[\s\S]*?\*\//g;

/**
 * Fetches a module and all that it imports, in search of one that does not come.
 * @param {URL} url
 * @param {import('./fetching.js').Job} [job]
 * @throws {DownloadError} which of them, and why
 */
export async function checkModules(url, job = {}) {
  const seen = new Set();
  const visit = async (address) => {
    if (seen.has(address.href)) return;
    seen.add(address.href);
    const text = await fetchText(address, job);
    await Promise.all([...text.replace(COMMENTS, '').matchAll(IMPORTS)]
      .map(([, path]) => visit(new URL(path, address))));
  };
  await visit(url);
}

/**
 * import(), with the patience of all other files.
 * @param {URL} url
 * @param {import('./fetching.js').Job} [job]
 * @throws {DownloadError} it, or what it imports, does not come
 */
export async function importModule(url, job = {}) {
  const { signal } = job;
  try {
    return await soon(import(url.href), signal);
  } catch {
    throwIfAborted(signal);
    await checkModules(url, job);
  }
  try {
    // By another name: browsers remember under the first one that it failed.
    const again = Object.assign(new URL(url), { search: '?again' });
    return await unlessAborted(import(again.href), signal);
  } catch (cause) {
    throwIfAborted(signal);
    await lookForUpdate(signal);
    throw new DownloadError(`${url} does not start: ${cause.message}. Reload the page, or use a `
      + 'current browser.', { cause });
  }
}

/** What the promise settles to; an import that stalls never would. */
async function soon(promise, signal) {
  const settled = new AbortController();
  const late = sleep(LIMITS.stall, settled.signal)
    .then(() => Promise.reject(new Error('nothing came')));
  try {
    return await unlessAborted(Promise.race([promise, late]), signal);
  } finally {
    settled.abort();
  }
}
