/** Finding a GPU: what is there, whether it suffices, and the device itself. Knows no model. */
import { DeviceError, UnsupportedError } from './errors.js';
import { remedyFor } from './remedies.js';

/** Features that some kernels are faster with; none is needed. */
const FEATURES = ['shader-f16', 'subgroups'];

/** Limits that large pictures profit from; the engine needs no more than WebGPU's defaults. */
const RAISED_LIMITS = ['maxBufferSize', 'maxStorageBufferBindingSize'];

/**
 * What this browser offers, without fetching anything.
 * @returns {Promise<{ok: boolean, reason: string, remedy: string, adapter: object | null,
 *   features: string[], limits: Record<string, number>}>} `reason` and `remedy` are sentences,
 *   '' when ok
 */
export async function inspectDevice() {
  return (await findAdapter()).found;
}

/** What `inspectDevice` says, and the adapter that it says it of, if there is one. */
async function findAdapter() {
  const absent = { ok: false, adapter: null, features: [], limits: {} };
  if (!globalThis.isSecureContext && globalThis.isSecureContext !== undefined) {
    return { found: { ...absent,
      reason: 'WebGPU is only offered on secure pages, and this one is not.',
      remedy: remedyFor('insecure', navigator.userAgent) } };
  }
  if (!globalThis.navigator?.gpu) {
    return { found: { ...absent, reason: 'This browser does not offer WebGPU.',
      remedy: remedyFor('webgpu', navigator.userAgent) } };
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    return { found: { ...absent,
      reason: 'The browser offers WebGPU but found no usable graphics adapter.',
      remedy: remedyFor('adapter', navigator.userAgent) } };
  }
  const { vendor, architecture, description } = adapter.info;
  const limits = {};
  for (const name in adapter.limits) limits[name] = adapter.limits[name];
  const found = {
    ok: true, reason: '', remedy: '',
    adapter: { vendor, architecture, description,
      fallback: Boolean(adapter.info.isFallbackAdapter),
      subgroupMinSize: adapter.info.subgroupMinSize ?? 0 },
    features: [...adapter.features].sort(), limits,
  };
  return { found, adapter };
}

/**
 * Opens the GPU with the raised limits where the adapter has them.
 * @returns {Promise<{ device: GPUDevice, adapter: object }>} adapter: what `inspectDevice` says of
 *   it. (Deno 2.9 panics when `device.adapterInfo` is read after the adapter was collected.)
 * @throws {UnsupportedError} no WebGPU, or no adapter
 */
export async function openDevice() {
  const { found, adapter } = await findAdapter();
  if (!found.ok) throw new UnsupportedError(`${found.reason} ${found.remedy}`);
  const requiredLimits = Object.fromEntries(RAISED_LIMITS
    .map((name) => [name, adapter.limits[name]]));
  try {
    const device = await adapter.requestDevice({ label: 'trefoil', requiredLimits,
      requiredFeatures: FEATURES.filter((name) => adapter.features.has(name)) });
    return { device, adapter: found.adapter };
  } catch (cause) {
    throw new UnsupportedError(`The graphics adapter refused to open: ${cause.message}`, { cause });
  }
}

/**
 * Collects what the device reports outside any call, so that the next call can throw it.
 * @param {GPUDevice} device
 * @returns {{ check: () => void, lost: Promise<never> }} `check` throws the first DeviceError seen
 */
export function watchDevice(device) {
  let first = null;
  device.addEventListener('uncapturederror', ({ error }) => {
    const memory = error instanceof GPUOutOfMemoryError;
    first ??= new DeviceError(memory
      ? 'The GPU ran out of memory. Draw a smaller picture, or close other tabs that use the GPU.'
      : `The GPU rejected a command: ${error.message}`);
  });
  const lost = device.lost.then(({ reason, message }) => {
    first ??= new DeviceError(reason === 'destroyed'
      ? 'The pipeline was destroyed while it was in use.'
      : `The GPU was lost (${message || 'no reason given'}). `
        + 'Reload the page; if it happens again, draw smaller.');
    throw first;
  });
  lost.catch(() => {});
  return { check() { if (first) throw first; }, lost };
}
