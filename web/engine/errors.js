/**
 * The library's errors. Each message says what, where, what was got, what was expected and what to
 * do; the name tells a caller which of them happened. Aborts are DOMExceptions named 'AbortError',
 * as everywhere.
 */
class NamedError extends Error {
  /** @param {string} message @param {{ cause?: unknown }} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * The device cannot run the engine: no WebGPU, no adapter, one that does not answer, a limit too
 * low, a kernel that does not compile or computes wrongly.
 */
export class UnsupportedError extends NamedError {}

/** A file could not be fetched, or its bytes are not the ones that the manifest names. */
export class DownloadError extends NamedError {}

/** A file is gone, for the site was replaced by another version since this page was opened. */
export class UpdatedError extends DownloadError {}

/** The manifest or a tensor in it does not fit this engine. */
export class ModelError extends NamedError {}

/** A request that cannot be drawn: a size, a seed, a number of steps. */
export class InputError extends NamedError {}

/** The GPU failed while drawing: lost, out of memory, or a validation error. */
export class DeviceError extends NamedError {}

/**
 * The GPU computed rightly at load and does so no more: what it drew is no picture. Kernels of
 * another kind may be right: `loadPipeline`'s `kernels: 'safe'`.
 */
export class WrongResultError extends NamedError {}

/** A developer's mistake: an op was given tensors whose shapes do not fit. */
export class ShapeError extends NamedError {}

/** @param {AbortSignal | undefined} signal */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw new DOMException('The drawing was cancelled.', 'AbortError');
}
