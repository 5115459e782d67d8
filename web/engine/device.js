/** Finding a GPU: what is there, whether it suffices, and the device itself. Knows no model. */
import { DeviceError, UnsupportedError } from './errors.js';
import { remedyFor, warningFor } from './remedies.js';
import { unlessAborted, within } from './waiting.js';

/** Features that some kernels are faster with; none is needed. @type {GPUFeatureName[]} */
const FEATURES = ['shader-f16', 'subgroups'];

/** Limits that large pictures profit from; the engine needs no more than WebGPU's defaults. */
const RAISED_LIMITS = ['maxBufferSize', 'maxStorageBufferBindingSize'];

/** How long the browser may think about a request for its graphics. */
export const PATIENCE_MS = 15_000;

/** Adapters that compute on the processor, by name; a browser may say so itself. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render/i;

/** What became of the request for an adapter, when there is none. */
const REASONS = {
  insecure: 'WebGPU is only offered on secure pages, and this one is not.',
  webgpu: 'This browser does not offer WebGPU.',
  adapter: 'The browser offers WebGPU but found no usable graphics adapter.',
  silent: 'This device\'s graphics do not answer.',
  failed: 'The browser\'s WebGPU failed when it was asked for a graphics adapter',
};

/**
 * An adapter, as the browser describes it: '' and 0 where it does not. software: it computes on the
 * processor.
 * @typedef {{ vendor: string, architecture: string, description: string, fallback: boolean,
 *   software: boolean, subgroupMinSize: number }} AdapterInfo
 */

/**
 * What this browser offers.
 * @typedef {object} DeviceReport
 * @property {boolean} ok
 * @property {string} reason a sentence, '' when ok
 * @property {string} remedy likewise
 * @property {string} warning a sentence about a device that may draw wrongly, or ''
 * @property {boolean} silent it did not answer in time and may yet
 * @property {'webgpu' | 'onnxruntime'} prefer what draws faster here, on a site that has both
 * @property {AdapterInfo | null} adapter
 * @property {string[]} features
 * @property {Record<string, number>} limits
 */

/**
 * Looks at what this browser offers, without fetching anything.
 * @param {{ patienceMs?: number }} [options] how long it may take to answer; Infinity: for ever
 * @returns {Promise<DeviceReport>}
 */
export async function inspectDevice({ patienceMs = PATIENCE_MS } = {}) {
  return (await findAdapter(patienceMs)).found;
}

/**
 * What `inspectDevice` says, and the adapter that it says it of, if there is one.
 * @param {number} patienceMs
 * @returns {Promise<{ found: DeviceReport, adapter?: GPUAdapter }>}
 */
async function findAdapter(patienceMs) {
  if (globalThis.isSecureContext === false) return absent('insecure');
  if (!globalThis.navigator?.gpu) return absent('webgpu');
  let adapter;
  try {
    adapter = await within(navigator.gpu.requestAdapter({ powerPreference: 'high-performance' }),
      patienceMs, tooLate);
    if (!adapter) return absent('adapter');
    return { found: describe(adapter, await infoOf(adapter)), adapter };
  } catch (error) {
    if (error instanceof UnsupportedError) return absent('silent');
    return absent('failed', `: ${error.message}.`);
  }
}

/** @returns {{ found: DeviceReport }} */
function absent(cause, detail = '') {
  return { found: { ok: false, reason: REASONS[cause] + detail,
    remedy: remedyFor(cause, navigator.userAgent), warning: '', silent: cause === 'silent',
    prefer: 'onnxruntime', adapter: null, features: [], limits: {} } };
}

const tooLate = () => new UnsupportedError(`${REASONS.silent} `
  + `${remedyFor('silent', navigator.userAgent)}`);

/**
 * GPUAdapter.info is Chrome 127's; before, it had to be asked for.
 * @returns {Promise<AdapterInfo>}
 */
async function infoOf(adapter) {
  const info = adapter.info ?? await adapter.requestAdapterInfo?.() ?? {};
  const { vendor = '', architecture = '', description = '', subgroupMinSize = 0 } = info;
  const fallback = Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter);
  const software = fallback || SOFTWARE.test(`${architecture} ${description}`);
  return { vendor, architecture, description, fallback, software, subgroupMinSize };
}

/** @returns {DeviceReport} */
function describe(adapter, info) {
  const limits = {};
  for (const name in adapter.limits) limits[name] = adapter.limits[name];
  return { ok: true, reason: '', remedy: '', warning: warningFor(info.vendor), silent: false,
    prefer: info.software ? 'onnxruntime' : 'webgpu', adapter: info,
    features: [...adapter.features].sort(), limits };
}

/**
 * Opens the GPU with the raised limits where the adapter has them.
 * @param {{ signal?: AbortSignal, patienceMs?: number }} [options]
 * @returns {Promise<{ device: GPUDevice, adapter: AdapterInfo }>} (Deno 2.9 panics when
 *   `device.adapterInfo` is read after the adapter was collected.)
 * @throws {UnsupportedError} no WebGPU, no adapter, or one that refuses or does not answer
 */
export async function openDevice({ signal, patienceMs = PATIENCE_MS } = {}) {
  const { found, adapter } = await unlessAborted(findAdapter(patienceMs), signal);
  if (!found.ok) throw new UnsupportedError(`${found.reason} ${found.remedy}`);
  const requiredLimits = Object.fromEntries(RAISED_LIMITS
    .map((name) => [name, adapter.limits[name]]));
  let opening = null;
  try {
    opening = adapter.requestDevice({ label: 'trefoil', requiredLimits,
      requiredFeatures: FEATURES.filter((name) => adapter.features.has(name)) });
    const device = await unlessAborted(within(opening, patienceMs, tooLate), signal);
    return { device, adapter: found.adapter };
  } catch (cause) {
    opening?.then((device) => device.destroy(), () => {}); // one that comes too late
    if (cause instanceof UnsupportedError || signal?.aborted) throw cause;
    throw new UnsupportedError(`The graphics adapter refused to open: ${cause.message}. `
      + `${remedyFor('adapter', navigator.userAgent)}`, { cause });
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
