/** A loaded model: what may be asked of it, whatever computes. */
import { InputError, throwIfAborted } from '../engine/errors.js';
import { anySignal } from '../engine/waiting.js';
import { readable } from './reference_image.js';
import { checkPicture, checkPlan, complete, fractionOf } from './request.js';
import { blankTexts } from './tokenizer.js';

/**
 * @import { Drawn, DrawProgress, Info, OnTensor, PictureRequest, PlanRequest, Preview }
 *   from './types.js'
 */

/**
 * What computes: webgpu.js, or onnxruntime/engine.js. Requests are complete and checked.
 * @typedef {object} Engine
 * @property {any} info its part of `Pipeline.info`
 * @property {(images: object[]) => void} [refuse] throws an InputError at images that it cannot use
 * @property {(drawing: any) => Promise<{ peakBytes: number }>} plan
 * @property {(request: any) => Promise<number>} missingBytes
 * @property {(drawing: any, hooks: any) => Promise<void>} prepare
 * @property {(drawing: any, hooks: any) => Promise<any>} draw
 * @property {(rgba: Uint8ClampedArray, drawing: any, hooks: any) => Promise<void>} check
 * @property {(error: Error) => Promise<void>} failed
 * @property {() => void} rest after each picture
 * @property {() => void} close no more files
 * @property {(state?: { working: boolean }) => unknown} free
 */

/** Made by `loadPipeline`. */
export class Pipeline {
  #manifest;
  #engine;
  #tokenizers;
  #defaults;
  #busy = false;
  #gone = new AbortController(); // aborted by destroy()

  /**
   * @internal
   * @param {object} parts
   * @param {import('../loader/manifest.js').Manifest} parts.manifest
   * @param {Engine} parts.engine
   * @param {import('./tokenizer.js').PromptTokenizer[]} parts.tokenizers one for each encoder
   * @param {{ textTokens: 'padded' | 'trimmed', memory?: 'auto' | 'small' }} parts.defaults
   */
  constructor({ manifest, engine, tokenizers, defaults: { textTokens, memory } }) {
    this.#manifest = manifest;
    this.#engine = engine;
    this.#tokenizers = tokenizers;
    this.#defaults = { textTokens, memory };
  }

  /**
   * What a page needs to know of the model and the device.
   * @returns {Info}
   */
  get info() {
    const { name, family, variant, pipeline, latents: { pixels: patch } } = this.#manifest;
    return { name, family, variant, pipeline, patch, ...this.#engine.info };
  }

  /**
   * GPU memory that a picture needs, without drawing it; previews, which read the latents back, may
   * take as much more as those have (2 MB at 1024 x 1024). None where the processor draws.
   * @param {PlanRequest} request defaults as loaded, and as `generate` has them; trimmed without a
   *   prompt: the most that any prompt needs; with reference images, if weights stay, what every
   *   picture but the first needs
   * @returns {Promise<{ peakBytes: number }>}
   * @throws {InputError} it cannot be drawn
   */
  async plan(request) {
    const asked = this.#complete(request);
    checkPlan(this.#manifest, asked);
    return this.#engine.plan(this.#drawing(asked));
  }

  /**
   * Bytes that `generate` would download before it draws: 0 for the model's own size and steps,
   * otherwise what the schedule needs besides, unless it is here already; little for the offered
   * sizes in 1 to 8 steps. Reference images need the encoder of the autoencoder. What was deleted
   * since the model was loaded counts, too.
   * @param {PlanRequest} request defaults as `generate` has them
   * @returns {Promise<number>}
   * @throws {InputError} the request cannot be drawn
   */
  async extraBytes(request) {
    const asked = this.#complete(request);
    checkPlan(this.#manifest, asked);
    return this.#engine.missingBytes(asked);
  }

  /**
   * Draws one picture. What it needs and is not here yet, or not any more, is downloaded first;
   * what is deleted while it draws, then.
   * @param {PictureRequest} request
   * @param {{ signal?: AbortSignal, onProgress?: (progress: DrawProgress) => void,
   *   onPreview?: (preview: Preview) => void, onTensor?: OnTensor, blocks?: boolean }} [hooks]
   *   onPreview: after every step, not where the processor draws; onTensor receives every stage's
   *   result, and with `blocks` the tokens after every block of the denoiser; it slows drawing
   * @returns {Promise<Drawn>}
   * @throws {InputError | DownloadError | DeviceError | WrongResultError | DOMException} the last
   *   one named AbortError, of `signal` or of `destroy`, within one submission to the GPU or one
   *   run of a graph
   */
  async generate(request, { signal: asked, onProgress = () => {}, ...hooks } = {}) {
    const wanted = this.#complete(request, { pixels: true });
    checkPicture(this.#manifest, wanted);
    throwIfAborted(asked);
    if (this.#busy) {
      throw new InputError('A picture is being drawn already; wait for it or cancel it.');
    }
    this.#busy = true;
    const { signal, leave } = anySignal([asked, this.#gone.signal]);
    const tell = (progress) => onProgress({ fraction: fractionOf(progress), ...progress });
    try {
      return await this.#generate(wanted, { ...hooks, signal, onProgress: tell });
    } catch (error) {
      throwIfAborted(this.#gone.signal); // whatever a destroyed pipeline stumbled over
      await this.#engine.failed(error);
      throw error;
    } finally {
      leave();
      this.#engine.rest();
      if (this.#gone.signal.aborted) this.#engine.free({ working: true });
      this.#busy = false;
    }
  }

  async #generate(wanted, hooks) {
    const { width, height, seed, steps } = wanted;
    const drawing = this.#drawing(wanted);
    await this.#engine.prepare(drawing, hooks);
    const started = performance.now();
    const { rgba, timings, ...counts } = await this.#engine.draw(drawing, hooks);
    const drawn = performance.now();
    await this.#engine.check(rgba, drawing, hooks);
    const checkMs = performance.now() - drawn;
    hooks.onProgress({ stage: 'decode', step: steps, steps, fraction: 1 });
    const longest = this.#longest;
    const { count, dropped } = drawing.texts[0][longest];
    return {
      width, height, rgba, seed, ...counts,
      timings: { ...timings, checkMs, totalMs: performance.now() - started },
      tokens: { count, limit: this.#tokenizers[longest].length, dropped },
    };
  }

  /** Which encoder reads the longest texts: what it has to cut is missing from the picture. */
  get #longest() {
    const lengths = this.#tokenizers.map(({ length }) => length);
    return lengths.indexOf(Math.max(...lengths));
  }

  /** Frees the memory, for good. What is being drawn ends in an AbortError. */
  destroy() {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort();
    this.#engine.close();
    if (!this.#busy) this.#engine.free();
  }

  /** A request with what it leaves open. @throws {InputError} it cannot be read */
  #complete(request, options) {
    if (this.#gone.signal.aborted) {
      throw new InputError('This pipeline was destroyed: load the model again to draw with it.');
    }
    if (request.images?.length) this.#engine.refuse?.(request.images);
    return complete(this.#manifest, request, this.#defaults, options);
  }

  /**
   * A request as models/draw.js takes it.
   * @param {Record<string, any>} request complete
   */
  #drawing({ prompt, negativePrompt, images, ...wanted }) {
    const asked = [prompt, ...(wanted.guided ? [negativePrompt] : [])];
    const texts = prompt === undefined
      ? blankTexts(this.#manifest.prompts, asked.map(() => []))
      : asked.map((text, i) => this.#tokenizers.map((one) => (
        one.encode(text, { ...wanted, negative: i > 0 }))));
    return { ...wanted, texts, images: images.map((image) => readable(this.#manifest, image)) };
  }
}
