/** A model that draws with the engine's kernels on a WebGPU device. */
import { InputError, WrongResultError, throwIfAborted } from '../engine/errors.js';
import { GpuExecutor } from '../engine/executor.js';
import { expectPicture } from '../engine/sound.js';
import { firstBytes } from '../loader/manifest.js';
import { draw } from '../models/draw.js';
import { Graphics } from './graphics.js';
import { ModelFiles } from './model_files.js';
import { observer } from './observing.js';
import { Pipeline } from './pipeline.js';
import { Rehearsals, openStages } from './rehearsals.js';
/** @import { Engine } from './pipeline.js' */

/**
 * Checks the device, then downloads the model.
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {URL} url the manifest's
 * @param {import('../models/families.js').Family} family
 * @param {import('../trefoil.js').Settings} settings `loadPipeline`'s options, complete
 * @returns {Promise<Pipeline>}
 */
export async function openWebGpu(manifest, url, family, settings) {
  const { signal, onProgress } = settings;
  const files = await ModelFiles.open(manifest, url, settings.storage);
  const { cachedBytes } = files;
  const tell = (progress) => onProgress({ ...progress, loadedBytes: cachedBytes,
    totalBytes: firstBytes(manifest), cachedBytes });
  const onWait = (wait) => tell({ phase: 'check', ...wait });
  let graphics = null;
  try {
    tell({ phase: 'check' });
    graphics = await Graphics.open(settings);
    const engine = new WebGpuEngine({ manifest, family, graphics, files, settings });
    await graphics.prepare(() => engine.rehearsals.all(), { signal, tell, onWait });
    throwIfAborted(signal);
    const tokenizers = await files.download({ signal, onProgress, onWait });
    return new Pipeline({ manifest, engine, tokenizers, defaults: settings });
  } catch (error) {
    graphics?.free();
    files.leave();
    throw error;
  }
}

/** @implements {Engine} */
class WebGpuEngine {
  #manifest;
  #family;
  #graphics;
  #files;
  #stages;

  constructor({ manifest, family, graphics, files, settings }) {
    const { memoryBudget: budget, memory } = settings;
    this.#manifest = manifest;
    this.#family = family;
    this.#graphics = graphics;
    this.#files = files;
    this.#stages = openStages(graphics.ops, files.tensors, manifest, { budget, memory });
    this.rehearsals = new Rehearsals(manifest, family, graphics, settings);
  }

  get info() {
    return { engine: 'webgpu', ...this.#graphics.info, ...this.#files.info };
  }

  /** @throws {InputError} no model of its family draws from images */
  refuse() {
    if (this.#family.references) return;
    throw new InputError(`A model of the family ${this.#manifest.family} draws from no reference `
      + 'image. Leave images out.');
  }

  /** @throws {InputError} it is too large for the device */
  async plan(drawing) {
    const { peakBytes } = await this.rehearsals.of(drawing);
    return { peakBytes };
  }

  missingBytes(request) {
    return this.#files.missingBytes(request);
  }

  /** Has the files here, once it is known that the device can draw it. */
  async prepare(drawing, hooks) {
    await this.rehearsals.of(drawing);
    await this.#files.ensure(drawing, hooks);
  }

  /** @type {Engine['draw']} */
  async draw(drawing, { onTensor, blocks = false, ...hooks }) {
    const { ops } = this.#graphics;
    const parts = { g: ops, stages: this.#stages, files: this.#files.tensors,
      manifest: this.#manifest };
    const executor = new GpuExecutor(parts, this.#family);
    const observe = observer((tensor) => ops.read(tensor), onTensor, blocks);
    ops.allocator.resetPeak();
    const drawn = await draw(executor, this.#family, this.#manifest, drawing,
      { ...hooks, observe });
    const { peakBytes } = ops.allocator;
    return { ...drawn, peakBytes };
  }

  /** Whether it is a picture, and whether the kernels that drew it are right still. */
  async check(rgba, drawing, { signal }) {
    expectPicture(rgba);
    const { variants } = await this.rehearsals.of(drawing);
    await this.#graphics.checkAgain(variants, signal);
  }

  async failed(error) {
    if (!(error instanceof WrongResultError)) return;
    this.#stages.free(); // what was unpacked there may be wrong as well
    await this.#graphics.distrust();
  }

  rest() {
    this.#graphics.ops.reset();
  }

  close() {
    this.#files.close();
  }

  free(options) {
    this.#stages.free();
    return this.#graphics.free(options);
  }
}
