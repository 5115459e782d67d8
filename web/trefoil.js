/**
 * Trefoil: pictures from prompts on the visitor's own GPU. Runs wherever navigator.gpu is, and from
 * ONNX graphs where it is not.
 *
 *     const pipe = await loadPipeline('./model/manifest.json');
 *     const { rgba, width, height } = await pipe.generate({
 *       prompt: 'a red maple in a blue pot', seed: 7,
 *     });
 */
import { PRECISIONS } from './engine/candidates.js';
import { PATIENCE_MS, inspectDevice } from './engine/device.js';
import { DeviceError, ModelError, UnsupportedError } from './engine/errors.js';
import { unlessAborted } from './engine/waiting.js';
import { fetchManifest, resolve } from './loader/manifest.js';
import { importModule } from './loader/modules.js';
import { STORAGES } from './loader/shards.js';
import { noteModel, throwIfUpdated } from './loader/updated.js';
import { familyOf } from './models/families.js';
import { MEMORY, TEXT_TOKENS, checkChoice, checkTextTokens } from './api/request.js';
import { openWebGpu } from './api/webgpu.js';

export { inspectDevice };
export { deleteModel, storedBytes } from './loader/stored.js';
export * from './engine/errors.js';

/**
 * `loadPipeline`'s options, complete.
 * @typedef {Omit<Required<Parameters<typeof loadPipeline>[1]>, 'engine' | 'model'> &
 *   { onWait: import('./loader/fetching.js').OnWait }} Settings
 */

const ENGINES = ['auto', 'webgpu', 'onnxruntime'];
const KERNEL_CHOICES = ['auto', 'safe'];

/** Weights stay in memory between pictures when all together need no more than this. */
const MEMORY_BUDGET = 2 ** 30;

/**
 * Checks the device, then downloads the model. To pause, abort; calling it again goes on.
 * @param {string | URL} manifestUrl
 * @param {object} [options]
 * @param {AbortSignal} [options.signal]
 * @param {(progress: { phase: 'check' | 'prepare' | 'wait' | 'download', loadedBytes: number,
 *   totalBytes: number, cachedBytes: number, file?: string, retryInMs?: number, offline?: true,
 *   asked?: true, kernel?: number, kernels?: number, changed?: { files: number, of: number },
 *   notKept?: 'full' | 'refused' }) => void} [options.onProgress] prepare: so many of about so many
 *   kernels are compiled; wait: for another tab that downloads; cachedBytes of the loadedBytes were
 *   on this device before; retryInMs: a file is tried again then, offline: or as soon as the network
 *   is back, asked: as the server wishes; changed: so many files here had other bytes than were
 *   downloaded, and are fetched again; notKept: what comes now is in memory only, because the disk
 *   is full or the browser refuses it
 * @param {'f32' | 'f16' | 'int8'} [options.precision] the least exact operands that a kernel may
 *   have, default f32; sums and everything between kernels are f32 always, and so are all operands
 *   in parts of a model that need it. The fastest kernel that is allowed is taken where it can be
 *   measured, on a CPU the least exact
 * @param {'auto' | 'safe'} [options.kernels] safe: the reference kernels alone, in f32, which need
 *   least of a device and are slower; auto takes them too where others went wrong, at load or, in
 *   this version of the browser, while drawing
 * @param {'auto' | 'opfs' | 'cache' | 'memory'} [options.storage] where the files are kept; auto:
 *   the private file system (OPFS), else the Cache API, else memory; `info.storage` tells, and
 *   `info.notKept` why the last part is in memory only, if it is. What is kept is hashed at each
 *   load, beside the check of the device
 * @param {number} [options.memoryBudget] bytes of weights that may stay on the GPU between pictures
 * @param {'auto' | 'small'} [options.memory] small: nothing stays, and the denoiser's blocks are
 *   loaded anew in each step; slower, the same picture
 * @param {'padded' | 'trimmed'} [options.textTokens] what `generate` does unless told; padded:
 *   text is filled up to the model's length, as in diffusers; trimmed: only the prompt's own
 *   tokens, faster, another picture
 * @param {'auto' | 'webgpu' | 'onnxruntime'} [options.engine] auto: WebGPU; but if the site was
 *   built with --onnx, its ONNX graphs on the processor, by onnxruntime-web, where WebGPU is not,
 *   is computed on the processor itself (`inspectDevice`'s `prefer`), does not answer, or has no
 *   kernel that is right. There only `signal`, `onProgress`, `storage`, `memoryBudget` (of weights
 *   in memory) and `textTokens` mean something
 * @param {number} [options.patienceMs] how long the browser may take to open the graphics, 15 s
 *   unless told; Infinity: for ever
 * @param {string} [options.model] the mark of the model that the page was written for, as its
 *   data-model has it: where the site has another one by now, that is told
 * @returns {Promise<import('./api/pipeline.js').Pipeline>}
 * @throws {InputError | UnsupportedError | DownloadError | UpdatedError | ModelError |
 *   DOMException} the last one named AbortError
 */
export async function loadPipeline(manifestUrl, options = {}) {
  const { signal, onProgress = () => {} } = options;
  const { precision = 'f32', storage = 'auto', memoryBudget = MEMORY_BUDGET } = options;
  const { memory = 'auto', textTokens = 'padded', engine = 'auto', kernels = 'auto' } = options;
  const { patienceMs = PATIENCE_MS } = options;
  checkChoice('precision', precision, PRECISIONS);
  checkChoice('storage', storage, STORAGES);
  checkChoice('memory', memory, MEMORY);
  checkChoice('textTokens', textTokens, TEXT_TOKENS);
  checkChoice('engine', engine, ENGINES);
  checkChoice('kernels', kernels, KERNEL_CHOICES);
  const url = resolve(manifestUrl);
  const onWait = (wait) => onProgress({ phase: 'check', loadedBytes: 0, totalBytes: 0,
    cachedBytes: 0, ...wait });
  const manifest = await readManifest(url, options.model, { signal, onWait });
  checkTextTokens(manifest, textTokens);
  const family = familyOf(manifest);
  const settings = { signal, onProgress, onWait, precision, storage, memoryBudget, memory,
    textTokens, kernels, patienceMs };
  const both = engine === 'auto' && manifest.onnx;
  if (engine === 'onnxruntime') return openOnnx(manifest, url, family, settings);
  if (both && await prefersOnnx(settings)) return openOnnx(manifest, url, family, settings);
  try {
    return await openWebGpu(manifest, url, family, settings);
  } catch (error) {
    if (!(both && isTheDevices(error))) throw error;
    return openOnnx(manifest, url, family, settings);
  }
}

/** A site that was replaced may have one that this code cannot read, or that the page is not for. */
async function readManifest(url, model, job) {
  try {
    const manifest = await fetchManifest(url, job);
    await noteModel(url, manifest, model, job.signal);
    return manifest;
  } catch (error) {
    if (error instanceof ModelError) await throwIfUpdated(job.signal);
    throw error;
  }
}

async function prefersOnnx({ signal, patienceMs }) {
  const found = await unlessAborted(inspectDevice({ patienceMs }), signal);
  return found.prefer === 'onnxruntime';
}

/** Whether the processor can do better. */
function isTheDevices(error) {
  return error instanceof UnsupportedError || error instanceof DeviceError;
}

/** @throws {UnsupportedError} the site has no graphs, or the browser does not run them */
async function openOnnx(manifest, url, family, settings) {
  if (!manifest.onnx) {
    throw new UnsupportedError('This site was built without ONNX graphs: build it with --onnx, or '
      + 'draw with WebGPU.');
  }
  const onnx = await importModule(new URL('./onnxruntime/engine.js', import.meta.url), settings);
  return onnx.openOnnx(manifest, url, family, settings);
}
