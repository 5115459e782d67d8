/**
 * Shards in the browser's private file system: one file each, named by its hash; a file of the
 * right length was verified before it got that name. In a worker a draft is written where it stays
 * while it arrives; elsewhere only whole files can be written.
 */
import { BufferedDraft, StorageError, partOf, storing } from './draft.js';

const FOLDER = 'trefoil';

/** A worker or a tab that was killed a moment ago may still hold its files. */
const HELD_TRIES = 20;
const HELD_MS = 100;

export class OpfsKeeper {
  kind = 'opfs';
  #folder;

  constructor(folder) {
    this.#folder = folder;
  }

  /** @throws {Error} the browser has none, or refuses it */
  static async open() {
    const root = await navigator.storage.getDirectory();
    return new OpfsKeeper(await root.getDirectoryHandle(FOLDER, { create: true }));
  }

  async list() {
    const found = [];
    for await (const [name, handle] of this.#folder.entries()) {
      if (handle.kind !== 'file') continue;
      const file = await handle.getFile().catch(() => null); // another tab has just removed it
      if (file) found.push({ name, bytes: file.size });
    }
    return found;
  }

  open(shard) {
    return storing(async () => {
      const name = partOf(shard.file);
      if ('createSyncAccessHandle' in FileSystemFileHandle.prototype) {
        const handle = await this.#folder.getFileHandle(name, { create: true });
        return new SyncDraft(this.#folder, handle, await openAccess(handle), shard);
      }
      const part = await this.#folder.getFileHandle(name)
        .then(async (handle) => new Uint8Array(await (await handle.getFile()).arrayBuffer()))
        .catch(() => undefined);
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

  async read({ file }, offset, count) {
    const whole = await (await this.#folder.getFileHandle(file)).getFile();
    return new Uint8Array(await whole.slice(offset, offset + count).arrayBuffer());
  }
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
    if (written !== bytes.length) throw new StorageError('the disk is full');
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
