/** A WebGPU device, the kernels on it, and which of them are taken. */
import { abilitiesOf } from '../engine/candidates.js';
import { Choice } from '../engine/choice.js';
import { openDevice, watchDevice } from '../engine/device.js';
import { DeviceError } from '../engine/errors.js';
import { Kernels } from '../engine/kernels.js';
import { Allocator } from '../engine/memory.js';
import { Ops } from '../engine/ops.js';
import { findWrong } from '../engine/selfcheck.js';
import { wrongResult } from '../engine/sound.js';
import { within } from '../engine/waiting.js';
import { fetchText } from '../loader/fetching.js';
import { prepareKernels } from './preparing.js';

/** A destroyed device is given this long to finish what it was told to do. */
const IDLE_MS = 1000;

export class Graphics {
  #device;
  #adapter;
  #kernels;
  #choice;
  #precision;
  #winners;

  /**
   * @param {{ signal?: AbortSignal, patienceMs: number, precision:
   *   import('../engine/candidates.js').Precision, kernels: 'auto' | 'safe' }} settings as
   *   `loadPipeline` takes them
   * @throws {UnsupportedError | DOMException}
   */
  static async open({ signal, patienceMs, precision, kernels }) {
    const { device, adapter } = await openDevice({ signal, patienceMs });
    const safe = kernels === 'safe';
    const graphics = new Graphics(device, adapter, safe ? 'f32' : precision);
    if (safe) graphics.#choice.useReferences('the safe one, as was asked for');
    return graphics;
  }

  constructor(device, adapter, precision) {
    this.#device = device;
    this.#adapter = adapter;
    this.#precision = precision;
    this.#kernels = new Kernels(device, new URL('../wgsl/', import.meta.url), fetchText);
    this.#choice = new Choice(abilitiesOf(device, adapter), precision);
    /** What everything is drawn with. */
    this.ops = this.#openOps(device, { watch: watchDevice(device) });
  }

  /** Ops that compute nothing, and count what the others would take. */
  rehearsal() {
    return this.#openOps(null);
  }

  #openOps(device, more) {
    const allocator = new Allocator(device, this.#device.limits.maxStorageBufferBindingSize);
    return new Ops({ device, kernels: this.#kernels, choice: this.#choice, allocator, ...more });
  }

  /**
   * Has the kernels ready that a model uses, and lets each compute a known answer.
   * @param {() => Promise<Map<string, [string, object]>>} rehearse all variants that it uses
   * @param {Parameters<typeof prepareKernels>[1]} job
   */
  async prepare(rehearse, job) {
    const { vendor, architecture, description } = this.#adapter;
    this.#winners = await prepareKernels({ kernels: this.#kernels, choice: this.#choice,
      ops: this.ops, names: [vendor, architecture, description, this.#precision], rehearse }, job);
  }

  get info() {
    const { vendor, architecture, description } = this.#adapter;
    return { precision: this.#precision, device: { vendor, architecture, description },
      kernels: this.#choice.table, safe: this.#choice.safe };
  }

  /**
   * Lets kernels compute their known answers once more.
   * @param {Map<string, [string, object]>} variants
   * @param {AbortSignal} [signal]
   * @throws {WrongResultError} one is wrong
   */
  async checkAgain(variants, signal) {
    this.ops.reset();
    const wrong = await findWrong(this.ops, variants.values(), { signal });
    if (wrong) throw wrongResult(wrong);
  }

  /** At the next load the kernels are others. */
  distrust() {
    return this.#winners.distrust();
  }

  /**
   * Gives the device back. wgpu, of Firefox and Deno, may panic over a device that goes with work
   * in flight.
   * @param {{ working?: boolean }} [state] working: it may have work in flight
   */
  async free({ working = false } = {}) {
    this.ops.reset();
    if (working) {
      const finished = this.#device.queue.onSubmittedWorkDone();
      await within(finished, IDLE_MS, () => new DeviceError('still at work')).catch(() => {});
    }
    this.#device.destroy();
  }
}
