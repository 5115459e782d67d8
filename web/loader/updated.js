/** Whether the site was replaced by another version while a page of it is open. */
import { UpdatedError } from '../engine/errors.js';

/** The folder of this code, named by its content; undefined where the site was not built. */
const CODE = /\/(code-[0-9a-f]{16})\//.exec(import.meta.url)?.[1];
const SITE = new URL('../../', import.meta.url);

const models = new Map(); // address of a manifest -> mark of what it said when it was read

/**
 * Notes what a manifest says, for the time when one of its files is gone.
 * @param {URL} url where the manifest is from
 * @param {import('./manifest.js').Manifest} manifest
 * @param {string} [expected] the mark of the model that the page was written for
 * @param {AbortSignal} [signal]
 * @throws {UpdatedError} the site's page is written for the manifest's model by now
 */
export async function noteModel(url, manifest, expected, signal) {
  const mark = await markOf(manifest);
  models.set(url.href, mark);
  if (expected && mark !== expected && (await textOf(SITE, signal))?.includes(mark)) updated();
}

/**
 * Asks the site, past every cache on the way, for its page and for the manifests that were read.
 * Quiet where they are as they were, and where that cannot be found out.
 * @param {AbortSignal} [signal]
 * @throws {UpdatedError}
 */
export async function throwIfUpdated(signal) {
  const named = (await textOf(SITE, signal))?.match(/\bcode-[0-9a-f]{16}\b/)?.[0];
  if (CODE && named && named !== CODE) updated();
  for (const [url, mark] of models) {
    const now = await textOf(url, signal).then((text) => markOf(JSON.parse(text))).catch(() => mark);
    if (now !== mark) updated();
  }
}

function updated() {
  throw new UpdatedError('The site was updated: reload the page.');
}

/** A file of the site as it is now; null where it cannot be had. */
async function textOf(url, signal) {
  try {
    const response = await fetch(url, { cache: 'no-cache', signal });
    return response.ok ? await response.text() : null;
  } catch {
    signal?.throwIfAborted();
    return null;
  }
}

/** What tells models apart, as export/site/pages.py writes it: SHA-256 of the files' hashes. */
async function markOf({ shards, prompts }) {
  const files = [...shards, ...prompts.map(({ tokenizer }) => tokenizer)];
  const hashes = files.map(({ sha256 }) => sha256).join('');
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(hashes));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
