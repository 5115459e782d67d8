/**
 * How the bench gets at the engine, and the one place where it says which kernel an op takes.
 */
import { PRECISIONS, abilitiesOf, candidatesFor } from '../engine/candidates.js';
import { openDevice, watchDevice } from '../engine/device.js';
import { Kernels } from '../engine/kernels.js';
import { Allocator } from '../engine/memory.js';
import { Ops } from '../engine/ops.js';
import { KERNELS } from '../engine/selfcheck.js';
import { fetchText } from '../loader/fetching.js';

/** A device with all kernels. */
export async function openEngine() {
  const { device, adapter } = await openDevice();
  const kernels = new Kernels(device, new URL('../wgsl/', import.meta.url), fetchText);
  await kernels.load(KERNELS);
  return new Engine(device, adapter, kernels);
}

export class Engine {
  constructor(device, adapter, kernels) {
    this.device = device;
    this.adapter = adapter;
    this.kernels = kernels;
    this.abilities = abilitiesOf(device, adapter);
    this.ops = this.#open(device, Ops);
  }

  /**
   * Ops that only count.
   * @param {typeof Ops} kind it, or a class made of it
   */
  rehearsal(kind = Ops) {
    return this.#open(null, kind);
  }

  /**
   * The ways in which this device can compute something: by each candidate of the op that is
   * recorded, or as the engine does it where it has no choice.
   * @param {(ops: Ops) => object} record records one run
   * @returns {{ name: string, precision: string, record: () => object }[]}
   */
  variants(record) {
    const rehearsal = this.rehearsal();
    const sites = [];
    rehearsal.choice = { pick: (op, constants) => {
      const candidates = this.#candidates(op, constants);
      sites.push(candidates);
      return candidates[0];
    } };
    rehearsal.scope(() => { record(rehearsal); });
    if (!sites.length) {
      const [...names] = new Set([...rehearsal.variants.values()].map(([name]) => name));
      return [{ name: names.join(', '), precision: 'f32', record: () => record(this.ops) }];
    }
    return sites[0].map((candidate) => ({
      name: labelOf(candidate), precision: candidate.precision,
      record: () => {
        this.ops.choice = { pick: () => candidate };
        return record(this.ops);
      },
    }));
  }

  destroy() {
    this.ops.reset();
    this.device.destroy();
  }

  #candidates(op, constants) {
    return candidatesFor(op, constants, this.abilities, PRECISIONS.at(-1));
  }

  #open(device, Kind) {
    const { maxStorageBufferBindingSize: limit } = this.device.limits;
    return new Kind({ device, kernels: this.kernels, allocator: new Allocator(device, limit),
      choice: { pick: (op, constants) => this.#candidates(op, constants).at(-1) },
      watch: device && watchDevice(device) });
  }
}

/** "linear_packed_tiled, ROWS 64, COLUMNS 64" */
function labelOf({ name, constants }) {
  return [name, ...Object.entries(constants).map(([key, value]) => `${key} ${value}`)].join(', ');
}
