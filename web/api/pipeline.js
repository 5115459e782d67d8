/** A model that draws with the engine's kernels on a WebGPU device. */
import { abilitiesOf } from '../engine/candidates.js';
import { Choice } from '../engine/choice.js';
import { openDevice, watchDevice } from '../engine/device.js';
import { DeviceError, InputError, ShapeError, WrongResultError, throwIfAborted }
  from '../engine/errors.js';
import { Kernels } from '../engine/kernels.js';
import { Allocator } from '../engine/memory.js';
import { Ops } from '../engine/ops.js';
import { findWrong } from '../engine/selfcheck.js';
import { expectPicture, wrongResult } from '../engine/sound.js';
import { Stages } from '../engine/stages.js';
import { anySignal, within } from '../engine/waiting.js';
import { makeClaim } from '../loader/claims.js';
import { firstBytes, sumBytes } from '../loader/manifest.js';
import { openShards } from '../loader/shards.js';
import { TensorFiles } from '../loader/tensors.js';
import { checkImages, defaultSize } from './reference_image.js';
import { MAX_STEPS, MEMORY, TEXT_TOKENS, checkChoice, checkRequest, checkSize, checkSteps,
  fractionOf } from './request.js';
import { PromptTokenizer } from './tokenizer.js';
import { observer } from './observing.js';
import { prepareKernels } from './preparing.js';

/** Shards for a rehearsal: nothing is downloaded yet, and no value matters. */
const ZEROS = { read: async (shard, offset, bytes) => new Uint8Array(bytes) };

/** A destroyed device is given this long to finish what it was told to do. */
const IDLE_MS = 1000;

/** A loaded model. Made by `open`. */
export class Pipeline {
  #manifest;
  #family;
  #device;
  #adapter;
  #kernels;
  #precision;
  #choice;
  #ops;
  #budget;
  #defaults;
  #store;
  #files;
  #stages;
  #tokenizer;
  #busy = false;
  #gone = new AbortController(); // aborted by destroy()
  #winners;
  #rehearsed = new Map();

  /**
   * Checks the device, then downloads the model.
   * @param {object} manifest
   * @param {URL} url the manifest's
   * @param {object} family
   * @param {object} settings `loadPipeline`'s options, complete
   */
  static async open(manifest, url, family, settings) {
    const { signal, onProgress, storage, memory, textTokens, memoryBudget } = settings;
    const { precision, kernels, patienceMs } = settings;
    const base = new URL(manifest.weights_url ?? '.', url);
    const claim = await makeClaim(url, manifest);
    const store = await openShards(manifest.shards, base, storage, claim);
    store.verify(store.first).catch(() => {}); // beside the device's check
    const cachedBytes = store.keptBytes(store.first);
    const tell = (progress) => onProgress({ ...progress, loadedBytes: cachedBytes,
      totalBytes: firstBytes(manifest), cachedBytes });
    const onWait = (wait) => tell({ phase: 'check', ...wait });
    let pipeline = null;
    try {
      tell({ phase: 'check' });
      const { device, adapter } = await openDevice({ signal, patienceMs });
      const defaults = { memory, textTokens };
      pipeline = new Pipeline({ manifest, family, device, adapter, memoryBudget, defaults,
        precision: kernels === 'safe' ? 'f32' : precision });
      if (kernels === 'safe') pipeline.#choice.useReferences('the safe one, as was asked for');
      await pipeline.check({ signal, tell, onWait });
      throwIfAborted(signal);
      await pipeline.download(store, url, { signal, onProgress, onWait });
      return pipeline;
    } catch (error) {
      pipeline?.destroy();
      store.leave();
      throw error;
    }
  }

  constructor({ manifest, family, device, adapter, memoryBudget, defaults, precision }) {
    this.#manifest = manifest;
    this.#family = family;
    this.#device = device;
    this.#adapter = adapter;
    this.#budget = memoryBudget;
    this.#defaults = defaults;
    this.#precision = precision;
    this.#kernels = new Kernels(device, new URL('../wgsl/', import.meta.url));
    this.#choice = new Choice(abilitiesOf(device, adapter), precision);
    this.#ops = new Ops({ device, kernels: this.#kernels, choice: this.#choice,
      watch: watchDevice(device),
      allocator: new Allocator(device, device.limits.maxStorageBufferBindingSize) });
  }

  /** Has the kernels ready that this model uses, and lets each compute a known answer. */
  async check({ signal, tell, onWait }) {
    const { vendor, architecture, description } = this.#adapter;
    this.#winners = await prepareKernels({ kernels: this.#kernels, choice: this.#choice,
      ops: this.#ops, names: [vendor, architecture, description, this.#precision],
      rehearse: () => this.#rehearseAll() }, { signal, tell, onWait });
  }

  /**
   * The picture of the model's own size shows which calls are dear; the smallest one, in steps that
   * no table holds, needs all kernels that any other does.
   */
  async #rehearseAll() {
    const { patch, pipeline: { width, height, image_input: imageInput } } = this.#manifest;
    const S = this.#textLength;
    const images = imageInput ? [{ width: 64, height: 64 }] : [];
    this.#rehearsed.clear();
    await this.#rehearse({ width, height, steps: this.#defaultSteps, S });
    const smallest = { width: patch, height: patch, steps: MAX_STEPS, S, images };
    return (await this.#rehearse(smallest)).variants;
  }

  /** Fetches the tokenizer, which lies beside the manifest, and the shards. */
  async download(store, manifestUrl, { signal, onProgress, onWait }) {
    this.#tokenizer = await PromptTokenizer.load(this.#manifest, manifestUrl, { signal, onWait });
    await store.fetch(store.first, { signal, onProgress });
    this.#store = store;
    this.#files = new TensorFiles(this.#manifest, store);
    this.#stages = this.#openStages(this.#ops, this.#files, this.#defaults.memory);
  }

  /** What a page needs to know of the model and the device. */
  get info() {
    const { name, family, variant, pipeline, patch } = this.#manifest;
    const { vendor, architecture, description } = this.#adapter;
    return {
      engine: 'webgpu', name, family, variant, pipeline, patch, precision: this.#precision,
      bytes: firstBytes(this.#manifest),
      storage: this.#store.kind, notKept: this.#store.notKept,
      device: { vendor, architecture, description },
      kernels: this.#choice.table, safe: this.#choice.safe,
    };
  }

  /**
   * GPU memory that a picture needs, without drawing it; previews, which read the latents back, may
   * take as much more as those have (2 MB at 1024 x 1024).
   * @param {{ width?: number, height?: number, steps?: number, memory?: 'auto' | 'small',
   *   textTokens?: 'padded' | 'trimmed', prompt?: string,
   *   images?: { width: number, height: number }[] }} request defaults as loaded, and as `generate`
   *   has them; trimmed without a prompt: the most that any prompt needs; with reference images, if
   *   weights stay, what every picture but the first needs
   * @returns {Promise<{ peakBytes: number }>}
   * @throws {InputError} the size cannot be drawn
   */
  async plan(request) {
    this.#expectHere();
    const { width, height, steps, images, prompt, ...choices } = this.#complete(request);
    const { memory, textTokens } = { ...this.#defaults, ...choices };
    checkSize(this.#manifest, width, height);
    checkSteps(steps);
    checkChoice('memory', memory, MEMORY);
    checkChoice('textTokens', textTokens, TEXT_TOKENS);
    const S = prompt === undefined ? this.#textLength : this.#tokens(prompt, textTokens).ids.length;
    const { peakBytes } = await this.#rehearse({ width, height, steps, S, images, memory });
    return { peakBytes };
  }

  /**
   * Bytes that `generate` would download before it draws: 0 for the model's own size and steps,
   * otherwise what the schedule needs besides, unless it is here already; little for the offered
   * sizes in 1 to 8 steps. Reference images need the encoder of the autoencoder. What was deleted
   * since the model was loaded counts, too.
   * @param {{ width?: number, height?: number, steps?: number,
   *   images?: { width: number, height: number }[] }} request defaults as `generate` has them
   * @throws {InputError} the request cannot be drawn
   */
  async extraBytes(request) {
    this.#expectHere();
    const { width, height, steps, images } = this.#complete(request);
    checkSize(this.#manifest, width, height);
    checkSteps(steps);
    const names = this.#family.requestTensors(this.#manifest, { width, height, steps, images });
    return sumBytes(await this.#files.missing(names));
  }

  /**
   * Draws one picture. What it needs and is not here yet, or not any more, is downloaded first;
   * what is deleted while it draws, then.
   * @param {{ prompt: string, seed?: number, width?: number, height?: number, steps?: number,
   *   textTokens?: 'padded' | 'trimmed',
   *   images?: import('./reference_image.js').Image[] }} request seed 0 .. 2^53 - 1, default
   *   0; size and steps default to the model's own, size to that of the first of reference images
   *   if there are any, textTokens to what was loaded
   * @param {{ signal?: AbortSignal, onProgress?: Function, onPreview?: Function,
   *   onTensor?: Function, blocks?: boolean }} hooks onProgress receives
   *   { stage, step, steps, fraction }, and while stage is 'download', which may be in the middle,
   *   { loadedBytes, totalBytes } too, with otherTab while another tab downloads, and with what
   *   `loadPipeline` tells of files; onPreview after every step { step, steps, width, height, rgba },
   *   what the picture is going to be, an eighth as wide and high;
   *   onTensor(name, { shape, data }) receives every stage's result, and with `blocks` the tokens
   *   after every block of the denoiser; it slows drawing
   * @returns {Promise<object>} { width, height, rgba, seed, timings, peakBytes,
   *   stageBytes: { encode, reference, denoise, decode }, tokens: { count, limit, dropped } };
   *   bytes of GPU memory, at most
   * @throws {InputError | DownloadError | DeviceError | WrongResultError | DOMException} the last
   *   one named AbortError, of `signal` or of `destroy`
   */
  async generate(request, hooks = {}) {
    this.#expectHere();
    const { onProgress = () => {}, onPreview, onTensor, blocks = false } = hooks;
    const limit = this.#textLength;
    const { width, height, steps, images } = this.#complete(request, { pixels: true });
    const { prompt, seed = 0, textTokens = this.#defaults.textTokens } = request;
    checkRequest(this.#manifest, { prompt, seed, width, height, steps, textTokens });
    throwIfAborted(hooks.signal);
    if (this.#busy) {
      throw new InputError('A picture is being drawn already; wait for it or cancel it.');
    }
    this.#busy = true;
    const tell = (p) => onProgress({ ...p, fraction: fractionOf(p) });
    const { signal, leave } = anySignal([hooks.signal, this.#gone.signal]);
    try {
      const tokens = this.#tokens(prompt, textTokens);
      const { variants } = await this.#rehearse(
        { width, height, steps, S: tokens.ids.length, images });
      await this.#ensure({ width, height, steps, images }, { signal, onProgress: tell });
      const started = performance.now();
      this.#ops.allocator.resetPeak();
      const { rgba, timings, stageBytes } = await this.#family.draw(
        { g: this.#ops, stages: this.#stages, files: this.#files, manifest: this.#manifest },
        tokens, { seed, width, height, steps, images },
        { signal, onProgress: tell, onPreview, observe: observer(this.#ops, onTensor, blocks) },
      );
      const { peakBytes } = this.#ops.allocator;
      const checkMs = await this.#checkDrawn(rgba, variants, signal);
      onProgress({ stage: 'decode', step: steps, steps, fraction: 1 });
      return {
        width, height, rgba, seed, peakBytes, stageBytes,
        timings: { ...timings, checkMs, totalMs: performance.now() - started },
        tokens: { count: tokens.count, limit, dropped: tokens.dropped },
      };
    } catch (error) {
      throwIfAborted(this.#gone.signal); // whatever a destroyed pipeline stumbled over
      if (error instanceof WrongResultError) {
        this.#stages.free(); // what was unpacked there may be wrong as well
        await this.#winners.distrust();
      }
      throw error;
    } finally {
      leave();
      this.#ops.reset();
      if (this.#gone.signal.aborted) this.#free();
      this.#busy = false;
    }
  }

  /** Frees the GPU, for good. What is being drawn ends in an AbortError. */
  destroy() {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort();
    this.#store?.close();
    if (!this.#busy) this.#free();
  }

  /** wgpu, of Firefox and Deno, may panic over a device that goes with work in flight. */
  async #free() {
    this.#stages?.free();
    this.#ops.reset();
    if (this.#busy) {
      const finished = this.#device.queue.onSubmittedWorkDone();
      await within(finished, IDLE_MS, () => new DeviceError('still at work')).catch(() => {});
    }
    this.#device.destroy();
  }

  /** @throws {InputError} after `destroy` */
  #expectHere() {
    if (!this.#gone.signal.aborted) return;
    throw new InputError('This pipeline was destroyed: load the model again to draw with it.');
  }

  /**
   * Whether it is a picture, and whether the kernels that drew it are right still.
   * @returns {Promise<number>} milliseconds that it took
   * @throws {WrongResultError}
   */
  async #checkDrawn(rgba, variants, signal) {
    const started = performance.now();
    expectPicture(rgba);
    this.#ops.reset();
    const wrong = await findWrong(this.#ops, variants.values(), { signal });
    if (wrong) throw wrongResult(wrong);
    return performance.now() - started;
  }

  /** A request with what it leaves open. @throws {InputError} its images cannot be read */
  #complete({ images = [], ...request }, { pixels = false } = {}) {
    checkImages(this.#manifest, images, { pixels });
    const size = defaultSize(this.#manifest, images);
    const { width = size.width, height = size.height, steps = this.#defaultSteps } = request;
    return { ...request, width, height, steps, images };
  }

  /** Has the files here that a picture needs, and that may have been deleted since the load. */
  async #ensure(request, { signal, onProgress }) {
    const { steps } = request;
    const names = this.#family.requestTensors(this.#manifest, request);
    await this.#files.ensure(names, { signal,
      onProgress: ({ phase, cachedBytes, file, ...progress }) => onProgress({ stage: 'download',
        step: 0, steps, ...progress, ...(phase === 'wait' && { otherTab: true }) }) });
  }

  /** A dry run of one step: peak bytes, kernel variants, and an error if a buffer is too large. */
  async #rehearse({ width, height, steps, S, images = [], memory = this.#defaults.memory }) {
    const sizes = images.map((image) => `${image.width}x${image.height}`);
    const key = `${width}x${height}, ${steps}, ${S}, ${memory}, ${sizes}`;
    if (!this.#rehearsed.has(key)) {
      const allocator = new Allocator(null, this.#device.limits.maxStorageBufferBindingSize);
      const ops = new Ops({ device: null, kernels: this.#kernels, choice: this.#choice,
        allocator });
      const files = new TensorFiles(this.#manifest, ZEROS);
      const tokens = { ids: new Int32Array(S), count: 1 };
      const parts = { g: ops, stages: this.#openStages(ops, files, memory), files,
        manifest: this.#manifest };
      // What encodes images never stays, so with them the second picture, for which all else is
      // there already, may need more than the first.
      const turns = images.length ? 2 : 1;
      try {
        for (let turn = 0; turn < turns; turn++) {
          await this.#family.draw(parts, tokens, { seed: 0, width, height, steps, images },
            { onProgress: () => {}, observe: () => {} });
          ops.reset();
        }
      } catch (error) {
        if (!(error instanceof ShapeError)) throw error;
        const [from, or] = images.length
          ? [` from images of ${sizes.join(' and ')}`, ', or from smaller images'] : ['', ''];
        throw new InputError(`${width}x${height}${from} is too large for this GPU: `
          + `${error.message}. Draw smaller${or}.`, { cause: error });
      }
      this.#rehearsed.set(key, { peakBytes: allocator.peakBytes, variants: ops.variants });
    }
    return this.#rehearsed.get(key);
  }

  #openStages(ops, files, memory) {
    const { components } = this.#manifest;
    return new Stages(ops, files, { components, budget: this.#budget, memory,
      except: this.#family.apartTensors(this.#manifest) });
  }

  get #defaultSteps() {
    return this.#manifest.pipeline.num_inference_steps;
  }

  /** Rows of text of a padded prompt. */
  get #textLength() {
    return this.#manifest.pipeline.max_sequence_length;
  }

  /** The prompt's tokens, without their padding if trimmed. */
  #tokens(prompt, textTokens) {
    const { ids, ...rest } = this.#tokenizer.encode(prompt);
    return { ids: textTokens === 'trimmed' ? ids.slice(0, rest.count) : ids, ...rest };
  }
}
