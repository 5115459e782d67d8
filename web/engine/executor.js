/** Draws with the engine's kernels: what models/draw.js asks of WebGPU. */
import { expectFinite } from './sound.js';
/** @import { Executor } from '../models/families.js' */

/** The components that every family has besides its text encoders. */
const DENOISER = 'transformer';
const DECODER = 'autoencoder';

/** @implements {Executor} */
export class GpuExecutor {
  #parts;
  #family;

  /**
   * @param {import('../models/families.js').Parts} parts
   * @param {import('../models/families.js').Family} family
   */
  constructor(parts, family) {
    this.#parts = parts;
    this.#family = family;
  }

  get rehearsal() {
    return this.#parts.g.rehearsal;
  }

  /** Each encoder is on the GPU once, for all texts. @type {Executor['encode']} */
  async encode(texts, { signal }) {
    const { g, stages, manifest: { prompts, components } } = this.#parts;
    const contexts = texts.map(() => []);
    for (const [n, { encoder: component }] of prompts.entries()) {
      const encoder = this.#family.encoders[component];
      const { LAYERS: layers, PRECISION: precision } = encoder;
      await stages.use(component, { signal, layers, precision }, async (weights) => {
        for (const [t, tokens] of texts.entries()) {
          contexts[t].push(await encoder.encode(g, weights, components[component].config, tokens[n],
            { signal }));
        }
      });
    }
    return contexts;
  }

  /** @type {Executor['references']} */
  references(images, hooks) {
    return this.#family.references(this.#parts, images, hooks);
  }

  /** @type {Executor['upload']} */
  upload(values, shape, label) {
    return this.#parts.g.upload(values, shape, label);
  }

  /** @type {Executor['denoise']} */
  async denoise(conditions, hooks, work) {
    const { g, stages, manifest: { components } } = this.#parts;
    const { Denoiser } = this.#family;
    const { signal, observe } = hooks;
    const schedule = await Denoiser.schedule?.(this.#parts, conditions, hooks);
    const streaming = { signal, layers: Denoiser.LAYERS, repeated: true,
      precision: Denoiser.PRECISION };
    await stages.use(DENOISER, streaming, async (weights) => {
      const denoiser = new Denoiser(g, weights, components[DENOISER].config, schedule);
      const states = [];
      for (const encoded of conditions.contexts) {
        states.push(await denoiser.prepare(encoded, conditions));
      }
      await g.drain({ signal }); // every step finds the same, an empty pool
      await work((latents, step, text) => denoiser.velocity(latents, step, states[text], { signal,
        observe: (name, shape, tensor) => (
          !text && observe(`block.${name}.${step}`, shape, tensor)) }));
      denoiser.release(...states);
    });
  }

  /** @type {Executor['addScaled']} */
  addScaled(x, y, alpha) {
    this.#parts.g.addScaled(x, y, alpha);
  }

  /** @type {Executor['copy']} */
  copy(x, into) {
    this.#parts.g.clone(x, into);
  }

  /** @type {Executor['release']} */
  release(tensor) {
    this.#parts.g.release(tensor);
  }

  /** @type {Executor['settle']} */
  async settle(tensor, { signal }) {
    this.#parts.g.release(tensor);
    await this.#parts.g.drain({ signal });
  }

  /** @type {Executor['read']} */
  async read(name, tensor, { signal }) {
    return expectFinite(name, new Float32Array(await this.#parts.g.read(tensor, { signal })));
  }

  latentNorm() {
    return this.#parts.files.latentNorm();
  }

  /** @type {Executor['decode']} */
  async decode(latents, { width, height, grid }, { signal, observe }) {
    const { g, stages, manifest: { components } } = this.#parts;
    const norm = await this.latentNorm();
    await g.drain({ signal });
    const { autoencoder } = this.#family;
    const { LAYERS: layers, PRECISION: precision } = autoencoder;
    return stages.use(DECODER, { signal, layers, precision }, async (weights) => {
      const picture = await autoencoder.decode(g, weights, components[DECODER].config,
        latents, { ...grid, norm, signal });
      await observe('decoded', [height, width, 3], picture);
      return new Uint8ClampedArray(await g.read(g.toRgba(picture), { signal }));
    });
  }

  takeStagePeak() {
    return this.#parts.g.allocator.takeStagePeak();
  }
}
