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
import { inspectDevice } from './engine/device.js';
import { ModelError, UnsupportedError } from './engine/errors.js';
import { fetchManifest, resolve } from './loader/manifest.js';
import { STORAGES } from './loader/shards.js';
import { noteModel, throwIfUpdated } from './loader/updated.js';
import * as flux2 from './models/flux2_pipeline.js';
import { MEMORY, TEXT_TOKENS, checkChoice } from './models/request.js';
import { Pipeline } from './pipeline.js';

export { inspectDevice };
export { deleteModel, storedBytes } from './loader/stored.js';
export * from './engine/errors.js';

const FAMILIES = { flux2 };
const ENGINES = ['auto', 'webgpu', 'onnxruntime'];

/** Weights stay in memory between pictures when all together need no more than this. */
const MEMORY_BUDGET = 2 ** 30;

/**
 * Checks the device, then downloads the model. To pause, abort; calling it again goes on.
 * @param {string | URL} manifestUrl
 * @param {object} [options]
 * @param {AbortSignal} [options.signal]
 * @param {(progress: { phase: 'check' | 'wait' | 'download', loadedBytes: number,
 *   totalBytes: number, cachedBytes: number, file?: string, retryInMs?: number }) => void}
 *   [options.onProgress] wait: for another tab that downloads; cachedBytes of the loadedBytes were
 *   on this device before; retryInMs: the file is tried again then
 * @param {'f32' | 'f16' | 'int8'} [options.precision] the least exact operands that a kernel may
 *   have, default f32; sums and everything between kernels are f32 always. The fastest kernel that
 *   is allowed is taken where it can be measured, on a CPU the least exact
 * @param {'auto' | 'opfs' | 'cache' | 'memory'} [options.storage] where the files are kept; auto:
 *   the private file system (OPFS), else the Cache API, else memory; `info.storage` tells
 * @param {number} [options.memoryBudget] bytes of weights that may stay on the GPU between pictures
 * @param {'auto' | 'small'} [options.memory] small: nothing stays, and the denoiser's blocks are
 *   loaded anew in each step; slower, the same picture
 * @param {'padded' | 'trimmed'} [options.textTokens] what `generate` does unless told; padded:
 *   text is filled up to the model's length, as in diffusers; trimmed: only the prompt's own
 *   tokens, faster, another picture
 * @param {'auto' | 'webgpu' | 'onnxruntime'} [options.engine] auto: WebGPU where the browser has it;
 *   elsewhere, if the site was built with --onnx, its ONNX graphs on the CPU, by onnxruntime-web.
 *   There only `signal`, `onProgress`, `storage`, `memoryBudget` (of weights in memory) and
 *   `textTokens` mean something
 * @param {string} [options.model] the mark of the model that the page was written for, as its
 *   data-model has it: where the site has another one by now, that is told
 * @returns {Promise<import('./pipeline.js').Pipeline |
 *   import('./onnxruntime/pipeline.js').OnnxPipeline>}
 * @throws {UnsupportedError | DownloadError | UpdatedError | ModelError | DOMException} the last one
 *   named AbortError
 */
export async function loadPipeline(manifestUrl, options = {}) {
  const { signal, onProgress = () => {} } = options;
  const { precision = 'f32', storage = 'auto', memoryBudget = MEMORY_BUDGET } = options;
  const { memory = 'auto', textTokens = 'padded', engine = 'auto' } = options;
  checkChoice('precision', precision, PRECISIONS);
  checkChoice('storage', storage, STORAGES);
  checkChoice('memory', memory, MEMORY);
  checkChoice('textTokens', textTokens, TEXT_TOKENS);
  checkChoice('engine', engine, ENGINES);
  const url = resolve(manifestUrl);
  const manifest = await readManifest(url, options.model, signal);
  const family = FAMILIES[manifest.family];
  if (!family) {
    throw new ModelError(`${url}: family ${manifest.family}; `
      + `this engine draws ${Object.keys(FAMILIES)}`);
  }
  const settings = { signal, onProgress, precision, storage, memoryBudget, memory, textTokens };
  if (!await takesOnnx(engine, manifest)) return Pipeline.open(manifest, url, family, settings);
  const { OnnxPipeline } = await import('./onnxruntime/pipeline.js').catch(async (error) => {
    await throwIfUpdated(signal);
    throw error;
  });
  return OnnxPipeline.open(manifest, url, settings);
}

/** A site that was replaced may have one that this code cannot read, or that the page is not for. */
async function readManifest(url, model, signal) {
  try {
    const manifest = await fetchManifest(url, signal);
    await noteModel(url, manifest, model, signal);
    return manifest;
  } catch (error) {
    if (error instanceof ModelError) await throwIfUpdated(signal);
    throw error;
  }
}

/** @throws {UnsupportedError} the ONNX graphs are asked for, and the site has none */
async function takesOnnx(engine, manifest) {
  if (engine === 'onnxruntime' && !manifest.onnx) {
    throw new UnsupportedError('This site was built without ONNX graphs: build it with --onnx, or '
      + 'draw with WebGPU.');
  }
  if (engine !== 'auto') return engine === 'onnxruntime';
  return Boolean(manifest.onnx) && !(await inspectDevice()).ok;
}
