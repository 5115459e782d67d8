/**
 * Components one after another: loaded when used, freed afterwards, kept only when all of them fit
 * a budget.
 */
import { Weights } from './weights.js';

export class Stages {
  #ops;
  #files;
  #keep;
  #except;
  #loaded = new Map();

  /**
   * @param {import('./ops.js').Ops} ops
   * @param {import('../loader/tensors.js').TensorFiles} files
   * @param {{ components: Record<string, { gpu_bytes: number }>, budget: number,
   *   except?: string[] }} plan budget in bytes; tensors in `except` stay on the CPU
   */
  constructor(ops, files, { components, budget, except }) {
    this.#ops = ops;
    this.#files = files;
    this.#except = except;
    const total = Object.values(components).reduce((sum, { gpu_bytes: bytes }) => sum + bytes, 0);
    this.#keep = total <= budget;
  }

  /**
   * Calls `work` with the component's weights on the GPU.
   * @template T
   * @param {string} component
   * @param {AbortSignal | undefined} signal
   * @param {(weights: Weights) => Promise<T>} work
   */
  async use(component, signal, work) {
    const kept = this.#loaded.get(component);
    if (kept) return work(kept);
    const weights = await new Weights(this.#ops, component)
      .load(this.#files, { except: this.#except, signal });
    if (this.#keep) this.#loaded.set(component, weights);
    try {
      return await work(weights);
    } finally {
      if (!this.#keep) weights.free();
    }
  }

  free() {
    this.#loaded.forEach((weights) => weights.free());
    this.#loaded.clear();
  }
}
