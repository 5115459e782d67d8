/** What tests/goldens.py wrote: numbers of diffusers, torch and transformers. */
import { readFileSync } from 'node:fs';

/** @param {string} name of a file of goldens/, without its ending */
export function readGolden(name) {
  return JSON.parse(readFileSync(new URL(`goldens/${name}.json`, import.meta.url), 'utf8'));
}

/** f32 values from base64, little-endian. @returns {Float32Array} */
export function floats(base64) {
  const bytes = Buffer.from(base64, 'base64');
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}
