/** manifest.json: fetched and checked once; what it says is trusted afterwards. */
import { ModelError } from '../engine/errors.js';
import { fetchJson } from './fetching.js';

const FORMAT = 'trefoil-2';
const NEEDED = [
  'name', 'family', 'pipeline', 'prompts', 'latents', 'sampler',
  'components', 'shards', 'tensors',
];

/**
 * A file of the model; path: where it is fetched from, if that is not its name.
 * @typedef {{ file: string, bytes: number, sha256: string, onDemand?: boolean,
 *   path?: string }} Shard
 */

/**
 * A prompt's way to one text encoder: `length` ids. keep: the rows of the encoder's output that go
 * on, of those of unmasked ids, as runs; null for all rows. instruction: a text that stands before
 * prompts, but not before negative ones, with the length and rows that count then; no prompt changes
 * the first `prefix` ids.
 * @typedef {{ encoder: string, tokenizer: { file: string, bytes: number, sha256: string,
 *   config?: object }, template: { prefix: string, suffix: string, lower?: boolean,
 *   strip?: boolean }, length: number, padding: { id: number, side: string }, mask: boolean,
 *   keep?: Rows | null, instruction?: { text: string, length: number, keep: Rows,
 *   prefix: number } }} Prompt
 */

/** @typedef {[first: number, count: number][]} Rows */

/**
 * Diffusers' call arguments, as the page offers them. negative: there may be a negative prompt,
 * by default `negative_prompt`.
 * @typedef {{ width: number, height: number, num_inference_steps: number, sizes: number[][],
 *   prompts?: string[], negative_prompt?: string, image_input?: { most: number },
 *   guidance: { kind: 'none' | 'embedded' | 'cfg', scale: number, negative: boolean } }} Call
 */

/**
 * A component: its configuration as diffusers or transformers write it, and the names of the
 * tensors that encode images, if it has some.
 * @typedef {{ config: Record<string, any>, image_input?: string[], [more: string]: any }} Component
 */

/**
 * What build.py wrote of a model; export/packing/manifest.py tells more of it.
 * @typedef {object} Manifest
 * @property {string} format
 * @property {string} name
 * @property {string} family
 * @property {string} variant
 * @property {Call} pipeline
 * @property {Prompt[]} prompts
 * @property {{ channels: number, pixels: number, patch?: number, [more: string]: any }} latents
 *   patch: noise is drawn for patch x patch latents of a token
 * @property {{ class: string, shift: string, config: Record<string, any> }} sampler
 * @property {{ tables: { tokens?: number, guidance?: number, steps: number, tensor: string }[],
 *   projections: string[], parts: number[] }} [schedules]
 * @property {{ matrix: number[][], bias: number[], cell: number }} [preview]
 * @property {Record<string, Component>} components
 * @property {Record<string, any>} tensors by name: shape, storage, use, and extents in the shards
 * @property {Shard[]} shards
 * @property {{ shards: Shard[], [more: string]: any }} [onnx]
 * @property {string} [weights_url]
 */

/** A manifest's address, relative to the page; where there is none, to the site's trefoil.js. */
export function resolve(manifestUrl) {
  return new URL(manifestUrl, globalThis.location?.href ?? new URL('../..', import.meta.url));
}

/**
 * @param {string | URL} url
 * @param {import('./fetching.js').Job} [job]
 * @returns {Promise<Manifest>}
 * @throws {DownloadError} it cannot be fetched or is no JSON
 * @throws {ModelError} it is not a manifest that this engine reads
 */
export async function fetchManifest(url, job = {}) {
  const manifest = await fetchJson(url, job);
  if (manifest?.format !== FORMAT) {
    throw new ModelError(`${url}: was built by ${versionOf(manifest?.format)}, and this page reads `
      + `${FORMAT}: build the site again.`);
  }
  const missing = NEEDED.filter((key) => !(key in manifest));
  if (missing.length) {
    throw new ModelError(`${url}: ${missing.join(', ')} missing. Build the site again.`);
  }
  const odd = ['pipeline', 'components', 'tensors'].find((key) => !isObject(manifest[key]))
    ?? (Array.isArray(manifest.shards) && manifest.shards.every(isShard) ? null : 'shards');
  if (odd) throw new ModelError(`${url}: ${odd} is damaged. Build the site again.`);
  for (const [name, tensor] of Object.entries(manifest.tensors)) {
    checkExtents(manifest, name, tensor);
  }
  return manifest;
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isShard = (shard) => isObject(shard) && typeof shard.file === 'string' && isCount(shard.bytes);

/** "an earlier version of build.py (trefoil-1)" */
function versionOf(format) {
  const [number, own] = [format, FORMAT].map((name) => Number(/^trefoil-(\d+)$/.exec(name)?.[1]));
  if (number < own) return `an earlier version of build.py (${format})`;
  if (number > own) return `a later version of build.py (${format})`;
  return `something else than build.py (format ${JSON.stringify(format)})`;
}

function checkExtents({ shards }, name, tensor) {
  for (const part of ['data', 'codes', 'scales', 'biases']) {
    const extents = tensor?.[part] ?? [];
    if (!isObject(tensor) || !Array.isArray(extents) || !extents.every(Array.isArray)) {
      throw new ModelError(`manifest: ${name} ${part} is damaged. Build the site again.`);
    }
    for (const [shard, offset, bytes] of extents) {
      const size = isCount(shard) ? shards[shard]?.bytes : undefined;
      if (!(isCount(offset) && isCount(bytes) && offset + bytes <= size)) {
        throw new ModelError(`manifest: ${name} ${part} lies at ${offset}..${offset + bytes} of `
          + `shard ${shard}, which has ${size} bytes. Build the site again.`);
      }
    }
  }
}

/**
 * Bytes of all shards that a first picture needs.
 * @param {Pick<Manifest, 'shards'>} manifest
 */
export function firstBytes({ shards }) {
  return sumBytes(shards.filter(({ onDemand }) => !onDemand));
}

/** @param {{ bytes: number }[]} shards */
export function sumBytes(shards) {
  return shards.reduce((sum, { bytes }) => sum + bytes, 0);
}
