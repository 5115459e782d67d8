/** What a caller is told of a download: soon, but not of every piece, which would cost as much. */

const TELL_MS = 50;

/**
 * @typedef {(progress: { phase: 'wait' | 'download', loadedBytes: number, totalBytes: number,
 *   cachedBytes: number, file?: string, retryInMs?: number, offline?: true, asked?: true,
 *   changed?: { files: number, of: number }, notKept?: 'full' | 'refused' }) => void} OnProgress
 */

export class Progress {
  #onProgress;
  #bytes; // { loadedBytes, totalBytes, cachedBytes }
  #file;
  #more = {};
  #waits = new Map(); // file -> what it waits for; told until it goes on, whatever comes of others
  #timer = null;

  /**
   * @param {OnProgress} onProgress
   * @param {number} totalBytes
   */
  constructor(onProgress, totalBytes) {
    this.#onProgress = onProgress;
    this.#bytes = { loadedBytes: 0, totalBytes, cachedBytes: 0 };
  }

  wait(keptBytes) {
    this.#tell('wait', keptBytes);
  }

  begin(keptBytes) {
    this.#tell('download', keptBytes);
  }

  /** From now on told, too, unless it is null: `changed`, `notKept`. */
  tell(more) {
    for (const [name, value] of Object.entries(more)) {
      if (value !== null) this.#more[name] = value;
    }
  }

  /** `bytes` of the file came, or, negative, are void. */
  advance(bytes, file) {
    this.#bytes.loadedBytes += bytes;
    this.#file = file;
    this.#timer ??= setTimeout(() => this.#now(), TELL_MS);
  }

  /** The file waits, as receive's onWait says, or, with null, does not wait any more. */
  pause(file, wait) {
    this.#file = file;
    if (wait) this.#waits.set(file, wait);
    else this.#waits.delete(file);
    this.#now();
  }

  /** Whatever has not been told yet, if anything. */
  end() {
    if (this.#timer !== null) this.#now();
  }

  #tell(phase, keptBytes) {
    Object.assign(this.#bytes, { loadedBytes: keptBytes, cachedBytes: keptBytes });
    this.#onProgress({ phase, ...this.#bytes, ...this.#more });
  }

  #now() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const [file, wait] = [...this.#waits].at(-1) ?? [this.#file];
    this.#onProgress({ phase: 'download', ...this.#bytes, ...this.#more, file, ...wait });
  }
}
