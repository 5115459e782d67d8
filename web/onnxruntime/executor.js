/**
 * Draws with ONNX graphs on the processor: what models/draw.js asks of onnxruntime. A tensor is a
 * Float32Array here. Graphs: export/onnx/.
 */
import { expectFinite } from '../engine/sound.js';
import { throwIfAborted } from '../engine/errors.js';
/** @import { Executor } from '../models/families.js' */

/** The graphs' folders that every family has besides its text encoders'. */
const DENOISER = 'transformer';
const DECODER = 'vae_decoder';

/** @implements {Executor} */
export class OnnxExecutor {
  #manifest;
  #family;
  #sessions;
  rehearsal = false;

  /**
   * @param {import('../loader/manifest.js').Manifest} manifest
   * @param {import('../models/families.js').Family} family
   * @param {import('./sessions.js').Sessions} sessions
   */
  constructor(manifest, family, sessions) {
    this.#manifest = manifest;
    this.#family = family;
    this.#sessions = sessions;
  }

  /** A graph takes a text encoder's component for its folder. @type {Executor['encode']} */
  async encode(texts, { signal }) {
    const contexts = texts.map(() => []);
    for (const [n, { encoder: component }] of this.#manifest.prompts.entries()) {
      for (const [t, tokens] of texts.entries()) {
        const feed = this.#family.encoders[component].feed(tokens[n]);
        const { data, dims } = await this.#run(component, feed, signal);
        contexts[t].push({ rows: [data], shape: dims.slice(1) });
      }
    }
    return contexts;
  }

  /** @type {Executor['upload']} */
  upload(values) {
    return values.slice();
  }

  /** @type {Executor['denoise']} */
  async denoise({ contexts, grid, times }, { signal }, work) {
    await work(async (latents, step, text) => {
      const asked = { latents, time: times[step], grid };
      const feed = this.#family.Denoiser.feed(contexts[text], asked);
      return (await this.#run(DENOISER, feed, signal)).data;
    });
  }

  /** @type {Executor['addScaled']} */
  addScaled(x, y, alpha) {
    for (let i = 0; i < x.length; i++) x[i] += alpha * y[i];
  }

  /** @type {Executor['copy']} */
  copy(x, into) {
    into.set(x);
  }

  /** @type {Executor['release']} */
  release() {}

  async settle() {}

  /** @type {Executor['read']} */
  async read(name, tensor) {
    return expectFinite(name, tensor);
  }

  /** @type {Executor['decode']} */
  async decode(latents, { width, height, grid }, { signal, observe }) {
    const feed = this.#family.autoencoder.feed(latents, grid);
    const { data } = await this.#run(DECODER, feed, signal);
    const planes = expectFinite('colours', data);
    const pixels = width * height;
    await observe('decoded', [height, width, 3], Float32Array.from(planes,
      (_, i) => planes[i % 3 * pixels + Math.floor(i / 3)]));
    throwIfAborted(signal);
    return toRgba(planes, pixels);
  }

  takeStagePeak() {
    return 0;
  }

  /** Lets messages in first, a cancel among them: a graph runs without a pause. */
  async #run(graph, feed, signal) {
    await new Promise((resolve) => { setTimeout(resolve); });
    throwIfAborted(signal);
    return this.#sessions.run(graph, feed);
  }
}

/** Planes [3, pixels] in -1..1 -> bytes r g b a, rounded as diffusers does. */
function toRgba(planes, pixels) {
  const rgba = new Uint8ClampedArray(4 * pixels).fill(255);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = 255 * (planes[c * pixels + i] / 2 + 0.5);
  }
  return rgba;
}
