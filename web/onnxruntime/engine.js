/**
 * A model drawn from its ONNX graphs on the processor, by onnxruntime-web: for browsers without
 * WebGPU. The loop, tokenizers and downloads are those of the WebGPU engine, and so is the picture.
 */
import { observer } from '../api/observing.js';
import { Pipeline } from '../api/pipeline.js';
import { loadTokenizers } from '../api/tokenizer.js';
import { InputError, throwIfAborted } from '../engine/errors.js';
import { expectPicture } from '../engine/sound.js';
import { makeClaim } from '../loader/claims.js';
import { sumBytes } from '../loader/manifest.js';
import { openShards } from '../loader/shards.js';
import { draw } from '../models/draw.js';
import { OnnxExecutor } from './executor.js';
import { Sessions } from './sessions.js';
/** @import { Engine } from '../api/pipeline.js' */

/**
 * Downloads graphs and tokenizers.
 * @param {import('../loader/manifest.js').Manifest} manifest with `onnx`
 * @param {URL} url the manifest's
 * @param {import('../models/families.js').Family} family
 * @param {Pick<import('../trefoil.js').Settings, 'signal' | 'onProgress' | 'storage' |
 *   'memoryBudget' | 'textTokens'>} settings `loadPipeline`'s options
 * @returns {Promise<Pipeline>}
 */
export async function openOnnx(manifest, url, family, settings) {
  const { signal, onProgress, storage } = settings;
  const claim = await makeClaim(url, manifest);
  const store = await openShards(manifest.onnx.shards, url, storage, claim);
  const cachedBytes = store.keptBytes(store.first);
  const onWait = (wait) => onProgress({ phase: 'check', loadedBytes: cachedBytes,
    totalBytes: sumBytes(manifest.onnx.shards), cachedBytes, ...wait });
  onWait(null);
  try {
    const tokenizers = await loadTokenizers(manifest, url, { signal, onWait });
    await store.fetch(store.first, { signal, onProgress });
    const sessions = await Sessions.open(manifest.onnx, store, url, settings.memoryBudget,
      { signal, onWait });
    throwIfAborted(signal);
    const engine = new OnnxEngine(manifest, family, store, sessions);
    return new Pipeline({ manifest, engine, tokenizers, defaults: settings });
  } catch (error) {
    store.leave();
    throw error;
  }
}

/** @implements {Engine} */
class OnnxEngine {
  #manifest;
  #family;
  #store;
  #sessions;

  constructor(manifest, family, store, sessions) {
    this.#manifest = manifest;
    this.#family = family;
    this.#store = store;
    this.#sessions = sessions;
  }

  /** There is no adapter, and no kernel to choose. */
  get info() {
    const { onnx, pipeline: { image_input: none, ...pipeline } } = this.#manifest;
    const { threads } = this.#sessions;
    return {
      engine: 'onnxruntime', pipeline, precision: 'f32', bytes: sumBytes(onnx.shards),
      storage: this.#store.kind, notKept: this.#store.notKept,
      device: { vendor: '', architecture: 'wasm', description:
        `onnxruntime-web ${onnx.version}, ${threads} ${threads === 1 ? 'thread' : 'threads'}` },
      kernels: [], safe: false,
    };
  }

  refuse() {
    throw new InputError('Reference images need WebGPU, which this browser does not offer.');
  }

  async plan() {
    return { peakBytes: 0 };
  }

  /** What was deleted since the load; else nothing: the graphs compute every schedule. */
  async missingBytes() {
    await this.#store.survey();
    return sumBytes(this.#store.missing(this.#store.first));
  }

  /** Has the graphs here, which may have been deleted since the load. */
  async prepare({ steps }, { signal, onProgress }) {
    await this.#store.ensure(this.#store.first, { signal,
      onProgress: ({ loadedBytes, totalBytes, changed, notKept }) => onProgress({ stage: 'download',
        step: 0, steps, loadedBytes, totalBytes, changed, notKept }) });
  }

  /** Without previews. */
  async draw(drawing, { signal, onProgress, onTensor }) {
    const executor = new OnnxExecutor(this.#manifest, this.#family, this.#sessions);
    const observe = observer(async (tensor) => tensor.slice().buffer, onTensor);
    const drawn = await draw(executor, this.#family, this.#manifest, drawing,
      { signal, onProgress, observe });
    return { ...drawn, peakBytes: 0 };
  }

  async check(rgba) {
    expectPicture(rgba);
  }

  async failed() {}

  rest() {}

  close() {
    this.#store.close();
  }

  free() {
    this.#sessions.free();
  }
}
