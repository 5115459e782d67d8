/**
 * Commands are recorded by the ops, in order, and run by `run`: many dispatches to one compute
 * pass, submissions sized to a fraction of a second by the rate that earlier ones showed, at most
 * two of them in flight.
 */
import { REFERENCES } from './candidates.js';
import { DeviceError, UnsupportedError, throwIfAborted } from './errors.js';
import { Kernels, gridOf, packDims } from './kernels.js';
import { ALIGNMENT, Tensor } from './memory.js';
import { unlessAborted } from './waiting.js';

const UNIFORM = 0x40 | 0x08; // GPUBufferUsage.UNIFORM | COPY_DST
const READBACK = 0x01 | 0x08; // GPUBufferUsage.MAP_READ | COPY_DST
const MAX_DISPATCHES = 256; // per submission: one uniform slot each
const SUBMISSION_MS = 120;
const LOSS_MS = 1000; // a lost device is told of within this time
const FIRST_RATE = 1e6; // operations per millisecond before anything was measured: a slow CPU

export class Recorder {
  #device;
  #kernels;
  #watch;
  #commands = [];
  #scopes = [new Set()];
  #uniforms = null;
  #rate = FIRST_RATE;
  #settled = 0;

  /**
   * @param {{ device: GPUDevice | null, kernels: Kernels,
   *   choice?: { pick: (op: string, constants: object, dims: object,
   *     least?: import('./candidates.js').Precision) => import('./candidates.js').Candidate },
   *   allocator: import('./memory.js').Allocator,
   *   watch?: { check: () => void, lost: Promise<never> } }} parts device null: a rehearsal,
   *   nothing runs
   */
  constructor({ device, kernels, choice = REFERENCES, allocator, watch }) {
    this.#device = device;
    this.#kernels = kernels;
    this.#watch = watch;
    this.allocator = allocator;
    /** Which kernel computes an op. */
    this.choice = choice;
    /** True when nothing runs: buffers are counted and kernels noted, no more. */
    this.rehearsal = !device;
    /** @type {Map<string, [string, object]>} every kernel variant that was dispatched */
    this.variants = new Map();
  }

  /** Operations that one dispatch should stay below, so that a submission stays short. */
  get dispatchCost() {
    return this.#rate * SUBMISSION_MS;
  }

  /** What a kernel declares. */
  interfaceOf(name) {
    return this.#kernels.interface(name);
  }

  /** An uninitialised tensor of the innermost scope's, in a buffer of `least` bytes or more. */
  empty(shape, label, least = 0) {
    const tensor = new Tensor(null, shape, label);
    tensor.allocation = this.allocator.allocate(Math.max(tensor.bytes, least), label);
    this.#scopes.at(-1).add(tensor.allocation);
    return tensor;
  }

  /**
   * Runs `record` and releases what it allocated, apart from the tensor or tensors that it returns.
   * @template T
   * @param {() => T} record
   * @returns {T}
   */
  scope(record) {
    this.#scopes.push(new Set());
    let kept = [];
    try {
      const result = record();
      kept = [result].flat().filter((value) => value instanceof Tensor);
      return result;
    } finally {
      const owned = this.#scopes.pop();
      for (const { allocation } of kept) {
        if (owned.delete(allocation)) this.#scopes.at(-1).add(allocation);
      }
      owned.forEach((allocation) => this.allocator.release(allocation));
    }
  }

  /** Releases tensors before their scope ends. */
  release(...tensors) {
    for (const { allocation } of tensors) {
      const owner = this.#scopes.find((scope) => scope.delete(allocation));
      if (owner) this.allocator.release(allocation);
    }
  }

  /**
   * Drops unsubmitted commands and releases every tensor: the state after a failure, or between
   * stages.
   */
  reset() {
    this.#commands = [];
    this.#scopes[0].forEach((allocation) => this.allocator.release(allocation));
    this.#scopes = [new Set()];
    if (this.#uniforms) this.allocator.destroy(this.#uniforms);
    this.#uniforms = null;
    this.allocator.trim();
  }

  /** @param {ArrayBufferView} data written when the commands before it have run */
  write(tensor, data) {
    this.#commands.push({ type: 'write', tensor, data });
  }

  copy(source, target) {
    this.#commands.push({ type: 'copy', source, target });
  }

  /**
   * @param {string} name kernel
   * @param {{ constants?: object, dims: object, tensors: Tensor[], cost?: number }} call tensors in
   *   binding order
   */
  dispatch(name, { constants = {}, dims, tensors, cost = 0 }) {
    const kernel = this.#kernels.interface(name);
    if (tensors.length !== kernel.bindings.length) {
      throw new DeviceError(`${name} binds ${kernel.bindings.length} tensors, `
        + `got ${tensors.length}`);
    }
    this.variants.set(Kernels.key(name, constants), [name, constants]);
    const grid = gridOf(kernel, { ...kernel.overrides, ...constants, ...dims });
    this.#commands.push({ type: 'dispatch', kernel, name, constants, grid, tensors, cost,
      uniform: packDims(kernel, dims) });
  }

  /**
   * Runs what was recorded; resolves when the GPU has finished it.
   * @param {{ signal?: AbortSignal }} options an abort ends every wait at once; what the GPU was told
   *   already it still does
   */
  async run({ signal } = {}) {
    const commands = this.#commands;
    this.#commands = [];
    this.#uniforms ??= this.allocator.create(MAX_DISPATCHES * ALIGNMENT, UNIFORM, 'dims');
    if (this.rehearsal) return;
    const pending = [];
    await this.#compile(commands.filter(({ type }) => type === 'dispatch'), signal);
    while (commands.length) {
      throwIfAborted(signal);
      pending.push(this.#submit(this.#takeBatch(commands)));
      if (pending.length > 1) await this.#settle(pending.shift(), signal);
    }
    while (pending.length) await this.#settle(pending.shift(), signal);
    throwIfAborted(signal);
  }

  /**
   * Runs what was recorded and gives back the memory that no tensor uses: between stages of
   * different sizes.
   */
  async drain(options) {
    await this.run(options);
    this.allocator.trim();
  }

  /**
   * Runs everything, then copies a tensor to the CPU.
   * @returns {Promise<ArrayBuffer>}
   */
  async read(tensor, options) {
    await this.run(options);
    const staging = this.allocator.create(tensor.bytes, READBACK, `${tensor.label} readback`);
    try {
      if (this.rehearsal) return new ArrayBuffer(tensor.bytes);
      const encoder = this.#device.createCommandEncoder();
      encoder.copyBufferToBuffer(tensor.allocation.gpu, tensor.offset,
        staging.gpu, 0, tensor.bytes);
      this.#device.queue.submit([encoder.finish()]);
      await this.#finished(staging.gpu.mapAsync(1), options?.signal); // 1 = GPUMapMode.READ
      return staging.gpu.getMappedRange().slice(0);
    } finally {
      this.allocator.destroy(staging);
    }
  }

  /** Compiles what is needed. A device that is lost meanwhile is told as lost. */
  async #compile(dispatches, signal) {
    const variants = dispatches.map(({ name, constants }) => [name, constants]);
    const compiling = this.#kernels.compile(variants);
    try {
      await unlessAborted(Promise.race([compiling, this.#watch.lost]), signal);
    } catch (error) {
      if (error instanceof UnsupportedError) await this.#lossOr(LOSS_MS);
      throw error;
    }
  }

  /** The first commands that fit one submission. */
  #takeBatch(commands) {
    let cost = 0;
    let dispatches = 0;
    let taken = 0;
    for (const { type, cost: more = 0 } of commands) {
      const encoded = taken && commands[taken - 1].type !== 'write';
      if (encoded && type === 'write') break; // writes go ahead of the encoder's commands
      if (dispatches && cost + more > this.dispatchCost) break;
      if (type === 'dispatch' && ++dispatches > MAX_DISPATCHES) break;
      cost += more;
      taken += 1;
    }
    return { cost, commands: commands.splice(0, taken) };
  }

  #submit({ cost, commands }) {
    const { queue } = this.#device;
    const dispatches = commands.filter(({ type }) => type === 'dispatch');
    this.#writeUniforms(queue, dispatches);
    const encoder = this.#device.createCommandEncoder();
    let pass = null;
    let slot = 0;
    for (const command of commands) {
      if (command.type === 'dispatch') {
        pass ??= encoder.beginComputePass();
        this.#encode(pass, command, slot++);
        continue;
      }
      pass?.end();
      pass = null;
      if (command.type === 'write') {
        queue.writeBuffer(command.tensor.allocation.gpu, command.tensor.offset, command.data);
      } else {
        const { source, target } = command;
        encoder.copyBufferToBuffer(source.allocation.gpu, source.offset,
          target.allocation.gpu, target.offset, source.bytes);
      }
    }
    pass?.end();
    queue.submit([encoder.finish()]);
    const done = queue.onSubmittedWorkDone();
    done.catch(() => {}); // an aborted run leaves it unawaited
    return { cost, started: performance.now(), done };
  }

  #writeUniforms(queue, dispatches) {
    if (!dispatches.length) return;
    const slots = new Uint8Array(dispatches.length * ALIGNMENT);
    dispatches.forEach(({ uniform }, slot) => slots.set(uniform, slot * ALIGNMENT));
    queue.writeBuffer(this.#uniforms.gpu, 0, slots);
  }

  #encode(pass, { kernel, name, constants, grid, tensors, uniform }, slot) {
    const pipeline = this.#kernels.pipeline(name, constants);
    const entries = tensors.map((tensor, i) => ({
      binding: kernel.bindings[i].slot,
      resource: { buffer: tensor.allocation.gpu, offset: tensor.offset, size: tensor.bytes },
    }));
    entries.push({
      binding: 0,
      resource: { buffer: this.#uniforms.gpu, offset: slot * ALIGNMENT, size: uniform.byteLength },
    });
    const layout = pipeline.getBindGroupLayout(0);
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.#device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(...grid);
  }

  /** Waits for a submission and learns the device's rate from it. */
  async #settle({ cost, started, done }, signal) {
    await this.#finished(done, signal);
    const elapsed = performance.now() - Math.max(started, this.#settled);
    this.#settled = performance.now();
    if (cost > this.dispatchCost / 4) {
      const measured = cost / Math.max(elapsed, 1);
      this.#rate = Math.min(Math.max(measured, this.#rate / 4), this.#rate * 4);
    }
  }

  /**
   * Waits for the GPU. What goes wrong there is a DeviceError, also when a promise fails before the
   * loss is told.
   */
  async #finished(work, signal) {
    try {
      await unlessAborted(Promise.race([work, this.#watch.lost]), signal);
    } catch (cause) {
      throwIfAborted(signal);
      if (!(cause instanceof DeviceError)) {
        await this.#lossOr(LOSS_MS);
        throw new DeviceError(`The GPU stopped: ${cause.message}. Reload the page; if it happens `
          + 'again, draw smaller, or update the browser and the graphics driver.', { cause });
      }
      throw cause;
    }
    this.#watch.check();
  }

  /** Waits for news of a loss. @throws {DeviceError} it came */
  async #lossOr(ms) {
    const deadline = new Promise((resolve) => { setTimeout(resolve, ms); });
    await Promise.race([this.#watch.lost, deadline]);
  }
}
