/** Shards in the Cache API, for browsers and frames that refuse the private file system. */
import { BufferedDraft, partOf, storing } from './draft.js';

/** The service worker's caches have names of their own. */
const CACHE = 'trefoil-shards';

/** Keys are names of content, whatever server it came from; nothing is ever fetched from here. */
const keyOf = (name) => `https://trefoil.invalid/${name}`;

export class CacheKeeper {
  kind = 'cache';
  #cache;
  #last = {}; // { file, blob } of the last read

  constructor(cache) {
    this.#cache = cache;
  }

  /** @throws {Error} the browser has none, or refuses it */
  static async open() {
    const keeper = new CacheKeeper(await caches.open(CACHE));
    await keeper.list();
    return keeper;
  }

  async list() {
    const keys = await this.#cache.keys();
    return Promise.all(keys.map(async (key) => {
      const entry = await this.#cache.match(key);
      return { name: new URL(key.url).pathname.slice(1),
        bytes: Number(entry?.headers.get('Content-Length')) };
    }));
  }

  open(shard) {
    return storing(async () => {
      const part = await this.#cache.match(keyOf(partOf(shard.file)));
      const bytes = part && new Uint8Array(await part.arrayBuffer());
      return new BufferedDraft(this, shard, bytes);
    });
  }

  async save(name, bytes) {
    const headers = { 'Content-Length': bytes.length, 'Content-Type': 'application/octet-stream' };
    await this.#cache.put(keyOf(name), new Response(bytes, { headers }));
  }

  async remove(name) {
    await this.#cache.delete(keyOf(name));
  }

  async read({ file }, offset, count) {
    if (this.#last.file !== file) {
      const blob = await (await this.#cache.match(keyOf(file))).blob();
      this.#last = { file, blob };
    }
    const slice = this.#last.blob.slice(offset, offset + count);
    return new Uint8Array(await slice.arrayBuffer());
  }
}
