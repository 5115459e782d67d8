/** Shards in the Cache API, for browsers and frames that refuse the private file system. */
import { isClaim } from './claims.js';
import { BufferedDraft, StorageError, partOf, storing } from './draft.js';

/** The service worker's caches have names of their own. */
const CACHE = 'trefoil-shards';
const CLAIMS = 'trefoil-claims';

/** Keys are names of content, whatever server it came from; nothing is ever fetched from here. */
const keyOf = (name) => `https://trefoil.invalid/${name}`;

export class CacheKeeper {
  kind = /** @type {const} */ ('cache');
  #cache;
  #claims;
  #last = {}; // { file, stamp, blob } of the last read

  /** @throws {Error} the browser has none, or refuses it */
  static async open() {
    const keeper = new CacheKeeper();
    await keeper.list();
    return keeper;
  }

  async list() {
    this.#cache = await caches.open(CACHE); // anew: all data of the site may have been cleared
    this.#claims = await caches.open(CLAIMS);
    const entries = await Promise.all((await this.#cache.keys()).map(async (key) => {
      const entry = await this.#cache.match(key);
      if (!entry) return null; // another tab has just removed it
      return { name: new URL(key.url).pathname.slice(1),
        bytes: Number(entry.headers.get('Content-Length')), stamp: stampOf(entry) };
    }));
    return entries.filter(Boolean);
  }

  /** @returns {Promise<string | null>} another one when the file is; null: it is gone */
  async stamp(name) {
    const entry = await this.#cache.match(keyOf(name));
    return entry ? stampOf(entry) : null;
  }

  open(shard) {
    return storing(async () => {
      const part = await this.#cache.match(keyOf(partOf(shard.file)));
      const bytes = part && new Uint8Array(await part.arrayBuffer());
      return new BufferedDraft(this, shard, bytes);
    });
  }

  async save(name, bytes) {
    const headers = { 'Content-Length': String(bytes.length),
      'Content-Type': 'application/octet-stream', 'Last-Modified': new Date().toISOString() };
    await this.#cache.put(keyOf(name), new Response(bytes, { headers }));
  }

  async remove(name) {
    await this.#cache.delete(keyOf(name));
  }

  async contents(name) {
    return new Uint8Array(await (await this.#cache.match(keyOf(name))).arrayBuffer());
  }

  /** @throws {Error} it is gone, or no longer the one that had this stamp */
  async read(file, offset, count, stamp) {
    if (this.#last.file !== file || this.#last.stamp !== stamp) {
      const entry = await this.#cache.match(keyOf(file));
      if (!entry || stampOf(entry) !== stamp) throw new StorageError(`${file} has changed`);
      this.#last = { file, stamp, blob: await entry.blob() };
    }
    const slice = this.#last.blob.slice(offset, offset + count);
    return new Uint8Array(await slice.arrayBuffer());
  }

  async claims() {
    const keys = await this.#claims.keys();
    const found = await Promise.all(keys.map(async (key) =>
      (await this.#claims.match(key))?.json().catch(() => null)));
    return found.filter(isClaim);
  }

  async saveClaim(claim) {
    await this.#claims.put(keyOf(claim.id), Response.json(claim));
  }

  async removeClaim(id) {
    await this.#claims.delete(keyOf(id));
  }
}

function stampOf({ headers }) {
  return `${headers.get('Content-Length')} ${headers.get('Last-Modified')}`;
}
