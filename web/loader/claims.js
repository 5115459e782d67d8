/**
 * Which model uses which files. All sites of an origin share one storage, where a file is named by
 * its content and lies once; a claim beside the files says that one build of one model uses them:
 *
 *   { id, manifest, files }   manifest: its address, files: the names of its shards, id: both hashed
 *
 * So a site deletes only what is its own, a build that was replaced can go when the new one is
 * whole, and a file that two models have stays until neither claims it.
 */
import { partOf } from './draft.js';
import { sha256 } from './hash.js';
import { isInUse } from './lock.js';

/** @typedef {{ id: string, manifest: string, files: string[] }} Claim */

/** A model's address as claims have it: a query asks for the same file. */
export function addressOf(manifestUrl) {
  const { origin, pathname } = new URL(manifestUrl);
  return origin + pathname;
}

/**
 * The names of a manifest's shards, those of its ONNX graphs too.
 * @param {Pick<import('./manifest.js').Manifest, 'shards' | 'onnx'>} manifest
 */
export function filesOf({ shards, onnx }) {
  return [...shards, ...(onnx?.shards ?? [])].map(({ file }) => file);
}

/**
 * @param {string | URL} manifestUrl
 * @param {import('./manifest.js').Manifest} manifest
 * @returns {Promise<Claim>}
 */
export async function makeClaim(manifestUrl, manifest) {
  const address = addressOf(manifestUrl);
  const files = filesOf(manifest);
  const id = await sha256(new TextEncoder().encode([address, ...files].join('\n')));
  return { id, manifest: address, files };
}

/** Whether it is what `makeClaim` made: a disk may have changed it. */
export function isClaim(claim) {
  return typeof claim?.id === 'string' && typeof claim.manifest === 'string'
    && Array.isArray(claim.files);
}

/** Notes a claim. A disk that is too full for it leaves the files without one. */
export async function note(keeper, claim) {
  await keeper.saveClaim(claim).catch(() => {});
}

/** Removes what earlier builds of this model had, but for those that a tab still draws from. */
export async function removeReplaced(keeper, claim) {
  const replaced = (await keeper.claims())
    .filter(({ id, manifest }) => manifest === claim.manifest && id !== claim.id);
  for (const old of replaced) {
    if (!await isInUse(old.id)) await remove(keeper, [old]);
  }
}

/**
 * Removes claims, and the files that only they claim.
 * @param {import('./draft.js').Keeper} keeper
 * @param {Claim[]} claims
 * @param {string[]} [more] other files that go, unless they are claimed
 * @returns {Promise<Set<string>>} files of theirs that stay, because others claim them
 */
export async function remove(keeper, claims, more = []) {
  const ids = new Set(claims.map(({ id }) => id));
  const others = (await keeper.claims()).filter(({ id }) => !ids.has(id));
  const needed = new Set(others.flatMap(({ files }) => files));
  const files = new Set([...claims.flatMap((claim) => claim.files), ...more]);
  for (const file of files) {
    if (needed.has(file)) continue;
    await keeper.remove(file);
    await keeper.remove(partOf(file));
  }
  for (const id of ids) await keeper.removeClaim(id);
  return new Set([...files].filter((file) => needed.has(file)));
}
