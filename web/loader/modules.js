/** Modules are fetched by the browser, which does not say what was wrong with one: this finds out. */
import { DownloadError } from '../engine/errors.js';
import { fetchText, lookForUpdate } from './fetching.js';

/** What a module imports, by a path of its own. Those in comments are types. */
const IMPORTS = /\b(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;

const COMMENTS = /\/\*[\s\S]*?\*\//g;

/**
 * Fetches a module and all that it imports, in search of one that does not come.
 * @param {URL} url
 * @param {{ signal?: AbortSignal, onWait?: Function }} [job]
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
 * @param {{ signal?: AbortSignal, onWait?: Function }} [job]
 * @throws {DownloadError} it, or what it imports, does not come
 */
export async function importModule(url, job) {
  try {
    return await import(url);
  } catch {
    await checkModules(url, job);
  }
  try {
    // By another name: browsers remember under the first one that it failed.
    return await import(Object.assign(new URL(url), { search: '?again' }));
  } catch (cause) {
    await lookForUpdate(job?.signal);
    throw new DownloadError(`${url} does not start: ${cause.message}. Reload the page, or use a `
      + 'current browser.', { cause });
  }
}
