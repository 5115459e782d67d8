/**
 * Components one after another: loaded when used, whole or layer by layer, and freed afterwards;
 * kept only when all of them fit a budget.
 */
import { Weights } from './weights.js';

/**
 * A component that is gone over again and again lies on the GPU as a whole up to this size; of a
 * larger one so much stays from one time to the next.
 */
const WHOLE_BYTES = 2 ** 30;

export class Stages {
  #ops;
  #files;
  #keep;
  #small;
  #except;
  #bytes = {}; // component -> of its weights
  #loaded = new Map();
  #computed = new Map(); // component -> what was computed of its weights, by name

  /**
   * @param {import('./ops.js').Ops} ops
   * @param {import('../loader/tensors.js').TensorFiles} files
   * @param {{ components: Record<string, { gpu_bytes: number }>, budget: number,
   *   memory: 'auto' | 'small', except?: string[] }} plan budget in bytes, of no use when memory is
   *   small; tensors in `except` stay on the CPU
   */
  constructor(ops, files, { components, budget, memory, except }) {
    this.#ops = ops;
    this.#files = files;
    this.#except = except;
    for (const [name, { gpu_bytes: bytes }] of Object.entries(components)) this.#bytes[name] = bytes;
    const total = Object.values(this.#bytes).reduce((sum, bytes) => sum + bytes, 0);
    this.#small = memory === 'small';
    this.#keep = !this.#small && total <= budget;
  }

  /**
   * Calls `work` with the component's weights on the GPU.
   * @template T
   * @param {string} component
   * @param {{ signal?: AbortSignal, layers?: string[], repeated?: boolean,
   *   precision?: import('./candidates.js').Precision }} options layers: how the names of tensors
   *   begin that `work` asks `weights.layers` for. A component that is not kept is streamed by
   *   them; one that goes over them `repeated`ly only when it is large, and keeps what it may, or
   *   when memory is small. precision: the least exact that the component takes
   * @param {(weights: Weights) => Promise<T>} work
   */
  async use(component, { signal, layers, repeated = false, precision }, work) {
    const kept = this.#loaded.get(component);
    if (kept) return work(kept);
    const resident = repeated && !this.#small ? WHOLE_BYTES : 0;
    const streamed = this.#keep || this.#bytes[component] <= resident ? [] : layers;
    if (!this.#computed.has(component)) this.#computed.set(component, new Map());
    const options = { computed: this.#computed.get(component), precision };
    const weights = await new Weights(this.#ops, this.#files, component, options)
      .load({ except: this.#except, streamed, resident, signal });
    if (this.#keep) this.#loaded.set(component, weights);
    try {
      return await work(weights);
    } finally {
      if (!this.#keep) weights.free();
    }
  }

  /**
   * Calls `work` with only the tensors `names`, which are never kept: `weights.layers(groups)`
   * loads them, a group at a time.
   * @template T
   * @param {string} component
   * @param {{ names: string[], groups: string[], signal?: AbortSignal }} options groups: how their
   *   names begin after the component's
   * @param {(weights: Weights) => Promise<T>} work
   */
  async pass(component, { names, groups, signal }, work) {
    const except = this.#files.names(component).filter((name) => !names.includes(name));
    const weights = await new Weights(this.#ops, this.#files, component)
      .load({ except, streamed: groups, signal });
    try {
      return await work(weights);
    } finally {
      weights.free();
    }
  }

  free() {
    this.#loaded.forEach((weights) => weights.free());
    this.#loaded.clear();
    this.#computed.clear();
  }
}
