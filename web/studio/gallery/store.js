/**
 * The kept pictures: in the origin private file system, in memory where that is refused or full.
 *
 * A picture is three files of one name in FOLDER: ID.png, ID.thumbnail and, written last, ID.json
 * with { createdAt, settings }. A picture without its .json is not there. No file is shared
 * between pictures, so tabs that write at the same time lose nothing of each other.
 */

const FOLDER = 'trefoil-gallery';
const PARTS = ['json', 'png', 'thumbnail']; // in the order of deletion
const AT_ONCE = 16; // entries; more of them would hold the page up
const STALE_MS = 24 * 3600 * 1000; // a picture that is still incomplete then will remain so

/**
 * A picture as the list has it; kept: it outlasts the page.
 * @typedef {{ id: string, createdAt: number, settings: import('../metadata.js').Settings,
 *   kept: boolean }} Entry
 */

/** @returns {Promise<Gallery>} */
export async function openGallery() {
  const folder = await openFolder();
  if (folder) await sweep(folder).catch(() => {});
  return new Gallery(folder);
}

/** @returns {Promise<FileSystemDirectoryHandle | null>} null: nothing can be kept */
async function openFolder() {
  try {
    if (!FileSystemFileHandle.prototype.createWritable) return null;
    const root = await navigator.storage.getDirectory();
    return await root.getDirectoryHandle(FOLDER, { create: true });
  } catch {
    return null;
  }
}

/** Deletes what a closed tab left incomplete. */
async function sweep(folder) {
  const names = await namesIn(folder);
  const complete = new Set(names.filter((name) => name.endsWith('.json')).map(idOf));
  const stale = (id) => !complete.has(id) && Date.now() - Number.parseInt(id, 10) > STALE_MS;
  await Promise.all(names.filter((name) => stale(idOf(name)))
    .map((name) => folder.removeEntry(name)));
}

async function namesIn(folder) {
  const names = [];
  for await (const name of folder.keys()) names.push(name);
  return names;
}

const idOf = (name) => name.slice(0, name.indexOf('.'));

function newId(createdAt) {
  return `${createdAt}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(16)}`;
}

async function write(folder, name, content) {
  const file = await folder.getFileHandle(name, { create: true });
  const stream = await file.createWritable(); // takes the file's place when it is closed
  try {
    await stream.write(content);
    await stream.close();
  } catch (error) {
    await stream.abort().catch(() => {});
    throw error;
  }
}

export const newestFirst = (a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1);

/**
 * entry: { id, createdAt (ms since 1970), settings, kept (false: in memory only) }
 */
class Gallery {
  #folder;
  #memory = new Map(); // id -> { createdAt, settings, blob, thumbnail }
  #tabs = 'BroadcastChannel' in globalThis ? new BroadcastChannel(FOLDER) : null;

  constructor(folder) {
    this.#folder = folder;
  }

  /** Whether pictures survive the page; where they do, a full disk can still refuse one. */
  get kept() {
    return this.#folder !== null;
  }

  /**
   * Calls back when another tab has changed what is kept.
   * @param {(change: { added: Entry } | { removed: string } | { cleared: true }) => void} changed
   */
  watch(changed) {
    if (this.#tabs) this.#tabs.onmessage = ({ data }) => changed(data);
  }

  /** @returns {Promise<Entry[]>} every entry, newest first */
  async list() {
    const names = this.#folder ? await namesIn(this.#folder).catch(() => []) : [];
    const ids = names.filter((name) => name.endsWith('.json')).map(idOf);
    const onDisk = [];
    for (let i = 0; i < ids.length; i += AT_ONCE) {
      onDisk.push(...await Promise.all(ids.slice(i, i + AT_ONCE).map((id) => this.#entry(id))));
    }
    const inMemory = [...this.#memory].map(([id, { createdAt, settings }]) => (
      { id, createdAt, settings, kept: false }));
    return [...onDisk.filter(Boolean), ...inMemory].sort(newestFirst);
  }

  /**
   * @param {{ blob: Blob, thumbnail: Blob, settings: import('../metadata.js').Settings,
   *   createdAt?: number, id?: string }} picture id: of one that comes back
   * @returns {Promise<Entry>} its entry
   */
  async add({ blob, thumbnail, settings, createdAt = Date.now(), id = newId(createdAt) }) {
    const kept = await this.#keep(id, { blob, thumbnail, settings, createdAt });
    if (!kept) this.#memory.set(id, { blob, thumbnail, settings, createdAt });
    const entry = { id, createdAt, settings, kept };
    if (kept) this.#tabs?.postMessage({ added: entry });
    return entry;
  }

  /** @returns {Promise<object | null>} what `add` needs to bring it back; null: it was damaged */
  async remove(id) {
    const { createdAt, settings } = this.#memory.get(id) ?? await this.#entry(id) ?? {};
    const reading = [this.file(id), this.thumbnail(id)].map(inMemory);
    const copies = await Promise.all(reading).catch(() => null);
    await this.#delete(id);
    this.#tabs?.postMessage({ removed: id });
    return copies && { id, createdAt, settings, blob: copies[0], thumbnail: copies[1] };
  }

  async clear() {
    const entries = await this.list();
    await Promise.all(entries.map(({ id }) => this.#delete(id)));
    this.#tabs?.postMessage({ cleared: true });
  }

  /**
   * @returns {Promise<Blob>} image/png
   * @throws {DOMException} NotFoundError: it was deleted, in another tab perhaps
   */
  async file(id) {
    const file = this.#memory.get(id)?.blob ?? await this.#read(`${id}.png`);
    return file.slice(0, file.size, 'image/png');
  }

  /** @returns {Promise<Blob>} an image @throws as `file` does */
  async thumbnail(id) {
    return this.#memory.get(id)?.thumbnail ?? this.#read(`${id}.thumbnail`);
  }

  async #read(name) {
    if (!this.#folder) throw new DOMException(`${name} is not in the gallery`, 'NotFoundError');
    return (await this.#folder.getFileHandle(name)).getFile();
  }

  /** @returns {Promise<object | null>} null: no longer there, or damaged */
  async #entry(id) {
    try {
      const { createdAt, settings } = JSON.parse(await (await this.#read(`${id}.json`)).text());
      const fits = Number.isFinite(createdAt) && typeof settings.prompt === 'string';
      return fits ? { id, createdAt, settings, kept: true } : null;
    } catch {
      return null;
    }
  }

  /** @returns {Promise<boolean>} false: the disk refused it */
  async #keep(id, { blob, thumbnail, settings, createdAt }) {
    if (!this.#folder) return false;
    try {
      await write(this.#folder, `${id}.png`, blob);
      await write(this.#folder, `${id}.thumbnail`, thumbnail);
      await write(this.#folder, `${id}.json`, JSON.stringify({ createdAt, settings }));
      return true;
    } catch {
      await this.#delete(id);
      return false;
    }
  }

  async #delete(id) {
    this.#memory.delete(id);
    for (const part of PARTS) await this.#folder?.removeEntry(`${id}.${part}`).catch(() => {});
  }
}

/** A file of the gallery cannot be read any more once it is deleted. */
async function inMemory(reading) {
  const file = await reading;
  return new Blob([await file.arrayBuffer()], { type: file.type });
}
