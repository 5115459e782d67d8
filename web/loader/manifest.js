/** manifest.json: fetched and checked once; what it says is trusted afterwards. */
import { ModelError } from '../engine/errors.js';
import { fetchJson } from './fetching.js';

const FORMAT = 'trefoil-2';
const NEEDED = [
  'name', 'family', 'pipeline', 'prompts', 'latents', 'sampler',
  'components', 'shards', 'tensors',
];

/** A manifest's address, relative to the page; where there is none, to the site's trefoil.js. */
export function resolve(manifestUrl) {
  return new URL(manifestUrl, globalThis.location?.href ?? new URL('../..', import.meta.url));
}

/**
 * @param {string | URL} url
 * @param {{ signal?: AbortSignal, onWait?: Function }} [job] as `receive` has it
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

/** Bytes of all shards that a first picture needs. */
export function firstBytes({ shards }) {
  return sumBytes(shards.filter(({ onDemand }) => !onDemand));
}

export function sumBytes(shards) {
  return shards.reduce((sum, { bytes }) => sum + bytes, 0);
}
