/** A model's files: shards and tokenizers, as far as they are on this device. */
import { makeClaim } from '../loader/claims.js';
import { firstBytes, sumBytes } from '../loader/manifest.js';
import { requestTensors } from '../loader/requested.js';
import { openShards } from '../loader/shards.js';
import { TensorFiles } from '../loader/tensors.js';
import { loadTokenizers } from './tokenizer.js';

export class ModelFiles {
  #manifest;
  #url;
  #store;

  /**
   * What is kept of it begins to be hashed.
   * @param {import('../loader/manifest.js').Manifest} manifest
   * @param {URL} url the manifest's
   * @param {import('../trefoil.js').Settings['storage']} storage
   */
  static async open(manifest, url, storage) {
    const base = new URL(manifest.weights_url ?? '.', url);
    const claim = await makeClaim(url, manifest);
    const store = await openShards(manifest.shards, base, storage, claim);
    store.verify(store.first).catch(() => {}); // beside the device's check
    return new ModelFiles(manifest, url, store);
  }

  constructor(manifest, url, store) {
    this.#manifest = manifest;
    this.#url = url;
    this.#store = store;
    /** Bytes of the first picture that were here before. */
    this.cachedBytes = store.keptBytes(store.first);
    this.tensors = new TensorFiles(manifest, store);
  }

  get info() {
    const { kind: storage, notKept } = this.#store;
    return { bytes: firstBytes(this.#manifest), storage, notKept };
  }

  /**
   * Fetches the tokenizers, which lie beside the manifest, and the shards.
   * @returns {Promise<import('./tokenizer.js').PromptTokenizer[]>}
   */
  async download({ signal, onProgress, onWait }) {
    const tokenizers = await loadTokenizers(this.#manifest, this.#url, { signal, onWait });
    await this.#store.fetch(this.#store.first, { signal, onProgress });
    return tokenizers;
  }

  /** Bytes of what a picture needs and is not here, or not any more. */
  async missingBytes(request) {
    return sumBytes(await this.tensors.missing(requestTensors(this.#manifest, request)));
  }

  /** Has the files here that a picture needs, and that may have been deleted since the load. */
  async ensure(request, { signal, onProgress }) {
    const { steps } = request;
    await this.tensors.ensure(requestTensors(this.#manifest, request), { signal,
      onProgress: ({ phase, cachedBytes, file, ...progress }) => onProgress({ stage: 'download',
        step: 0, steps, ...progress, ...(phase === 'wait' && { otherTab: true }) }) });
  }

  /** After a load that failed. */
  leave() {
    this.#store.leave();
  }

  close() {
    this.#store.close();
  }
}
