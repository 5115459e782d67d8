/** Dry runs of a picture: the GPU memory that it takes, and its kernels. */
import { InputError, ShapeError } from '../engine/errors.js';
import { GpuExecutor } from '../engine/executor.js';
import { Stages } from '../engine/stages.js';
import { apartTensors, requestTensors } from '../loader/requested.js';
import { TensorFiles } from '../loader/tensors.js';
import { draw } from '../models/draw.js';
import { MAX_STEPS } from './limits.js';
import { LEAST_SIDE } from './reference_image.js';
import { blankTexts } from './tokenizer.js';

/** Shards for a rehearsal: nothing is downloaded yet, and no value matters. */
const ZEROS = { read: async (shard, offset, bytes) => new Uint8Array(bytes) };

/**
 * What draws with ops that compute nothing.
 * @param {import('../engine/ops.js').Ops} ops
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @param {import('../models/families.js').Family} family
 * @param {{ budget: number, memory: 'auto' | 'small' }} plan as `Stages` takes it
 * @returns {GpuExecutor}
 */
export function rehearsing(ops, manifest, family, { budget, memory }) {
  const files = new TensorFiles(manifest, ZEROS);
  const stages = openStages(ops, files, manifest, { budget, memory });
  return new GpuExecutor({ g: ops, stages, files, manifest }, family);
}

/** The components of a model, on the GPU when they are used. */
export function openStages(ops, files, manifest, { budget, memory }) {
  return new Stages(ops, files, { components: manifest.components, budget, memory,
    except: apartTensors(manifest) });
}

/** A picture of the model's own size and steps, as a rehearsal needs it. */
export function ownPicture({ prompts, pipeline }) {
  const { width, height, num_inference_steps: steps, guidance } = pipeline;
  const texts = blankTexts(prompts, Array(guidance.kind === 'cfg' ? 2 : 1).fill([]));
  return { width, height, steps, seed: 0, texts, guidanceScale: guidance.scale };
}

export class Rehearsals {
  #manifest;
  #family;
  #graphics;
  #budget;
  #memory;
  #known = new Map();

  /**
   * @param {import('../loader/manifest.js').Manifest} manifest
   * @param {import('../models/families.js').Family} family
   * @param {import('./graphics.js').Graphics} graphics
   * @param {{ memoryBudget: number, memory: 'auto' | 'small' }} settings `loadPipeline`'s
   */
  constructor(manifest, family, graphics, { memoryBudget, memory }) {
    this.#manifest = manifest;
    this.#family = family;
    this.#graphics = graphics;
    this.#budget = memoryBudget;
    this.#memory = memory;
  }

  /**
   * Anew, with the kernels that are chosen by now. The picture of the model's own size shows which
   * calls are dear; the smallest one, in steps that no table holds, needs all kernels that any
   * other does.
   * @returns {Promise<Map<string, [string, object]>>} all variants of kernels
   */
  async all() {
    const { latents: { pixels }, pipeline: { image_input: input } } = this.#manifest;
    const own = ownPicture(this.#manifest);
    const images = input ? [{ width: LEAST_SIDE, height: LEAST_SIDE }] : [];
    this.#known.clear();
    await this.of(own);
    const smallest = { ...own, width: pixels, height: pixels, steps: MAX_STEPS, images };
    return (await this.of(smallest)).variants;
  }

  /**
   * One step of a picture.
   * @param {import('../models/families.js').Drawing & { memory?: 'auto' | 'small' }} drawing what
   *   its texts and images hold is not looked at, but how long and large they are; memory: as
   *   loaded, unless told
   * @returns {Promise<{ peakBytes: number, variants: Map<string, [string, object]> }>}
   * @throws {InputError} it needs a buffer that is too large
   */
  async of({ width, height, steps, texts, images = [], guidanceScale, memory = this.#memory }) {
    const lengths = texts.map((text) => text.map(
      ({ ids, valid, keep }) => (keep ? valid : ids.length))); // where rows are kept, no padding is
    const sizes = images.map((image) => `${image.width}x${image.height}`);
    const [folded] = requestTensors(this.#manifest, { width, height, steps, guidanceScale });
    const key = [`${width}x${height}`, folded, steps, ...lengths, memory, ...sizes].join('; ');
    if (!this.#known.has(key)) {
      const drawing = { width, height, steps, images, guidanceScale, seed: 0,
        texts: blankTexts(this.#manifest.prompts, lengths) };
      try {
        this.#known.set(key, await this.#rehearse(drawing, memory));
      } catch (error) {
        if (!(error instanceof ShapeError)) throw error;
        const [from, or] = images.length
          ? [` from images of ${sizes.join(' and ')}`, ', or from smaller images'] : ['', ''];
        throw new InputError(`${width}x${height}${from} is too large for this GPU: `
          + `${error.message}. Draw smaller${or}.`, { cause: error });
      }
    }
    return this.#known.get(key);
  }

  /**
   * What encodes images never stays, so with them the second picture, for which all else is there
   * already, may need more than the first.
   */
  async #rehearse(drawing, memory) {
    const ops = this.#graphics.rehearsal();
    const plan = { budget: this.#budget, memory };
    const executor = rehearsing(ops, this.#manifest, this.#family, plan);
    for (let turn = 0; turn < (drawing.images.length ? 2 : 1); turn++) {
      await draw(executor, this.#family, this.#manifest, drawing,
        { onProgress: () => {}, observe: () => {} });
      ops.reset();
    }
    return { peakBytes: ops.allocator.peakBytes, variants: ops.variants };
  }
}
