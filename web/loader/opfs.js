/**
 * Shards in the browser's private file system: one file each, named by its hash, which was verified
 * before it got that name. In a worker a draft is written where it stays while it arrives; elsewhere
 * only whole files can be written.
 */
import { isClaim } from './claims.js';
import { BufferedDraft, StorageError, partOf, storing } from './draft.js';

const FOLDER = 'trefoil';
const CLAIMS = 'claims'; // a folder in it

/** A worker or a tab that was killed a moment ago may still hold its files. */
const HELD_TRIES = 20;
const HELD_MS = 100;

export class OpfsKeeper {
  kind = /** @type {const} */ ('opfs');
  #folder;

  /** @throws {Error} the browser has none, or refuses it */
  static async open() {
    const keeper = new OpfsKeeper();
    await keeper.#open();
    return keeper;
  }

  /** A folder that was cleared with all other data of the site is made anew. */
  async #open() {
    const root = await navigator.storage.getDirectory();
    this.#folder = await root.getDirectoryHandle(FOLDER, { create: true });
  }

  async list() {
    await this.#open();
    const found = [];
    for await (const [name, handle] of this.#folder.entries()) {
      if (handle.kind !== 'file') continue;
      const file = await handle.getFile().catch(() => null); // another tab has just removed it
      if (file) found.push({ name, bytes: file.size, stamp: stampOf(file) });
    }
    return found;
  }

  /** @returns {Promise<string | null>} another one when the file is; null: it is gone */
  async stamp(name) {
    return this.#file(name).then(stampOf, () => null);
  }

  open(shard) {
    return storing(async () => {
      const name = partOf(shard.file);
      if ('createSyncAccessHandle' in FileSystemFileHandle.prototype) {
        const handle = await this.#folder.getFileHandle(name, { create: true });
        return new SyncDraft(this.#folder, handle, await openAccess(handle), shard);
      }
      const part = await this.contents(name).catch(() => undefined);
      return new BufferedDraft(this, shard, part);
    });
  }

  /** Atomic: the file has its bytes only once the stream is closed. */
  async save(name, bytes) {
    const handle = await this.#folder.getFileHandle(name, { create: true });
    const stream = await handle.createWritable();
    await stream.write(bytes);
    await stream.close();
  }

  async remove(name) {
    await removeFile(this.#folder, name);
  }

  /** All of it, in room(count) in a worker: read there without a copy in another process. */
  async contents(name, room = (count) => new Uint8Array(count)) {
    const handle = await this.#folder.getFileHandle(name);
    const access = await handle.createSyncAccessHandle?.({ mode: 'read-only' }).catch(() => null);
    if (!access) return new Uint8Array(await (await handle.getFile()).arrayBuffer());
    try {
      const bytes = room(access.getSize());
      return bytes.subarray(0, access.read(bytes, { at: 0 }));
    } finally {
      access.close();
    }
  }

  /** @throws {Error} it is gone, or no longer the one that had this stamp */
  async read(file, offset, count, stamp) {
    const whole = await this.#file(file);
    if (stampOf(whole) !== stamp) throw new StorageError(`${file} has changed`);
    return new Uint8Array(await whole.slice(offset, offset + count).arrayBuffer());
  }

  async claims() {
    const found = [];
    for await (const handle of (await this.#claims()).values()) {
      found.push(await handle.getFile().then(async (file) => JSON.parse(await file.text()))
        .catch(() => null)); // another tab has just removed it, or it is being written
    }
    return found.filter(isClaim);
  }

  async saveClaim(claim) {
    const handle = await (await this.#claims()).getFileHandle(claim.id, { create: true });
    const bytes = new TextEncoder().encode(JSON.stringify(claim));
    if (handle.createWritable) {
      const stream = await handle.createWritable();
      await stream.write(bytes);
      await stream.close();
    } else {
      const access = await openAccess(handle);
      access.truncate(0);
      access.write(bytes);
      access.close();
    }
  }

  async removeClaim(id) {
    await removeFile(await this.#claims(), id);
  }

  #claims() {
    return this.#folder.getDirectoryHandle(CLAIMS, { create: true });
  }

  async #file(name) {
    return (await this.#folder.getFileHandle(name)).getFile();
  }
}

function stampOf({ size, lastModified }) {
  return `${size} ${lastModified}`;
}

/** Written in place. What was written before the page was killed is there when it comes back. */
class SyncDraft {
  #folder;
  #handle;
  #access;
  #file;
  received;

  constructor(folder, handle, access, { file, bytes }) {
    this.#folder = folder;
    this.#handle = handle;
    this.#access = access;
    this.#file = file;
    this.received = access.getSize();
    if (this.received > bytes) this.restart();
  }

  write(bytes) {
    const written = this.#access.write(bytes, { at: this.received });
    // A full disk is an exception or a number: Chromium 156 has 2^32 - 8 for it in private windows.
    if (written !== bytes.length) {
      throw Object.assign(new StorageError('the disk is full'), { full: true });
    }
    this.received += written;
  }

  restart() {
    this.#access.truncate(0);
    this.received = 0;
  }

  contents(room) {
    const bytes = room(this.received);
    const count = this.#access.read(bytes, { at: 0 });
    if (count < bytes.length) throw new StorageError(`${count} of ${bytes.length} bytes read`);
    return bytes;
  }

  async keep() {
    this.#shut();
    await removeFile(this.#folder, this.#file);
    await this.#handle.move(this.#file);
  }

  async close() {
    this.#shut();
  }

  async drop() {
    this.#shut();
    await removeFile(this.#folder, this.#handle.name);
  }

  #shut() {
    const access = this.#access;
    this.#access = null;
    try {
      access?.flush();
    } finally {
      access?.close();
    }
  }
}

async function openAccess(handle) {
  for (let tries = 1; ; tries++) {
    try {
      return await handle.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== 'NoModificationAllowedError' || tries === HELD_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, HELD_MS));
    }
  }
}

async function removeFile(folder, name) {
  try {
    await folder.removeEntry(name);
  } catch (error) {
    if (error.name !== 'NotFoundError') throw error;
  }
}
