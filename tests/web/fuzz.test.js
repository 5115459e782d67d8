/**
 * The PNG reader and the manifest's over seeded mutations of good ones: texts or "damaged", a
 * manifest or a ModelError; nothing else is thrown, and no more is unpacked than a text may have.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';

import { fetchManifest, firstBytes } from '../../web/loader/manifest.js';
import { readTexts, packPixels, withTexts } from '../../web/studio/png.js';

const ROUNDS = 1000;
const LONGEST_TEXT = 2 ** 20;
const ODD = [0, 1, 2, 12, 255, 2 ** 15, 2 ** 20, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

/** mulberry32: next(n) is an integer below n. */
function random(seed) {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

/** One to three changes of a file. */
function mutate(next, good) {
  const bytes = [...good];
  for (let i = next(3); i >= 0; i--) {
    const at = next(bytes.length || 1);
    const word = ODD[next(ODD.length)];
    [
      () => bytes.splice(at, 1, next(256)),
      () => bytes.splice(at, 4, word >>> 24, word >>> 16 & 255, word >>> 8 & 255, word & 255),
      () => bytes.splice(at, 1 + next(20)),
      () => bytes.splice(at, 0, ...bytes.slice(at, at + next(60))),
      () => bytes.splice(at, 0, next(256), next(256)),
      () => bytes.splice(at),
    ][next(6)]();
  }
  return new Uint8Array(bytes);
}

function chunk(type, data) {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length);
  bytes.write(type, 4, 'latin1');
  Buffer.from(data).copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const packed = (text) => deflateSync(Buffer.from(text));
const PICTURE = { rgba: new Uint8ClampedArray(16).fill(9), width: 2, height: 2 };

async function goodPng() {
  const plain = withTexts(await packPixels(PICTURE), { parameters: 'a pine\nSeed: 7', other: 'x' });
  const bytes = Buffer.from(await plain.arrayBuffer());
  const texts = [chunk('tEXt', Buffer.from('prompt\0caf\xe9', 'latin1')),
    chunk('zTXt', Buffer.concat([Buffer.from('workflow\0\0'), packed('{"a": 1}'.repeat(20))])),
    chunk('iTXt', Buffer.concat([Buffer.from('Comment\0\x01\0en\0\0'), packed('木'.repeat(30))]))];
  return Buffer.concat([bytes.subarray(0, 33), ...texts, bytes.subarray(33)]);
}

const KEYWORDS = ['parameters', 'prompt', 'workflow', 'Comment'];

/** Bytes that decompressors gave out while `work` ran. */
async function unpacked(work) {
  const Original = globalThis.DecompressionStream;
  let bytes = 0;
  globalThis.DecompressionStream = class {
    constructor(format) {
      const inner = new Original(format);
      this.writable = inner.writable;
      this.readable = inner.readable.pipeThrough(new TransformStream({
        transform(part, out) { bytes += part.length; out.enqueue(part); },
      }));
    }
  };
  try {
    await work();
  } finally {
    globalThis.DecompressionStream = Original;
  }
  return bytes;
}

test('PNG texts of damaged files', async () => {
  const good = await goodPng();
  const whole = await readTexts(new Blob([good]), KEYWORDS);
  assert.deepEqual([...whole.texts.keys()].sort(), [...KEYWORDS].sort());
  assert.equal(whole.damaged, false);
  const seen = { none: 0, sound: 0, damaged: 0 };
  for (let seed = 0; seed < ROUNDS; seed++) {
    const found = await readTexts(new Blob([mutate(random(seed), good)]), KEYWORDS)
      .catch((error) => assert.fail(`seed ${seed}: ${error.stack}`));
    seen[found === null ? 'none' : found.damaged ? 'damaged' : 'sound'] += 1;
    for (const [keyword, text] of found?.texts ?? []) {
      assert.ok(KEYWORDS.includes(keyword) && typeof text === 'string', `seed ${seed}`);
    }
  }
  assert.ok(Math.min(...Object.values(seen)) > 5, JSON.stringify(seen));
});

test('a text that unpacks to 64 MB is given up after one', async () => {
  const bomb = deflateSync(Buffer.alloc(64 * LONGEST_TEXT), { level: 9 });
  const good = await goodPng();
  for (const [type, front] of [['zTXt', 'prompt\0\0'], ['iTXt', 'prompt\0\x01\0\0\0']]) {
    const file = new Blob([good.subarray(0, 33),
      chunk(type, Buffer.concat([Buffer.from(front), bomb])), good.subarray(33)]);
    let found;
    const bytes = await unpacked(async () => { found = await readTexts(file, ['prompt']); });
    assert.ok(bytes > LONGEST_TEXT && bytes < 2 * LONGEST_TEXT, `${type}: ${bytes}`);
    assert.equal(found.damaged, true);
  }
});

test('a keyword without an end is no keyword', async () => {
  const good = await goodPng();
  for (const type of ['tEXt', 'zTXt', 'iTXt']) {
    const file = new Blob([good.subarray(0, 33), chunk(type, Buffer.from('title!')),
      good.subarray(33)]);
    const { texts, damaged } = await readTexts(file, ['title']);
    assert.deepEqual([texts.size, damaged], [0, true]);
  }
});

const MANIFEST = {
  name: 'x', family: 'flux2', pipeline: { width: 16, height: 16 }, patch: 16, tokenizer: {},
  scheduler: {}, prompts: [], latents: {}, sampler: {}, components: { transformer: { config: {} } },
  shards: [{ file: 'a.bin', bytes: 640, sha256: '0' }, { file: 'b.bin', bytes: 64, onDemand: true }],
  tensors: {
    'transformer.w': { storage: 'ternary', shape: [4, 128], group: 128, scales_dtype: 'f16',
      codes: [[0, 0, 104]], scales: [[0, 512, 8]] },
    'transformer.b': { storage: 'f32', shape: [16], data: [[0, 576, 64]] },
    'transformer.t': { storage: 'f32', shape: [24], data: [[0, 608, 32], [1, 0, 64]] },
  },
};
const VALUES = [null, true, -1, 0, 0.5, 1e300, '', '0', 'x', [], {}, [[]], [0, 0, 0], [[0, 0, 1e9]],
  [[0, -1, 1]], [['length', 0, 0]], { data: 3 }, { codes: {} }, 2 ** 53, -0.1];

/** A copy with one value somewhere inside replaced, moved or left out. */
function mutateValue(next, value) {
  const keys = Object.keys(value ?? {});
  if (typeof value !== 'object' || !keys.length || next(6) === 0) return VALUES[next(VALUES.length)];
  const copy = Array.isArray(value) ? [...value] : { ...value };
  const key = keys[next(keys.length)];
  if (next(8) === 0) delete copy[key];
  else copy[key] = mutateValue(next, copy[key]);
  return copy;
}

const fetched = (value) => fetchManifest(
  new URL(`data:application/json,${encodeURIComponent(JSON.stringify(value))}`));

test('manifests of damaged sites', async () => {
  const refusal = await fetched({ ...MANIFEST, format: 'none' }).catch((error) => error);
  const [format] = /trefoil-\d+/.exec(refusal.message); // the one that it asks for
  const good = { ...MANIFEST, format };
  assert.equal(firstBytes(await fetched(good)), 640);
  const seen = { read: 0, refused: 0 };
  for (let seed = 0; seed < ROUNDS; seed++) {
    const value = mutateValue(random(seed), good);
    try {
      const { shards, tensors } = await fetched(value);
      assert.ok(Number.isSafeInteger(firstBytes({ shards })), `seed ${seed}`);
      for (const tensor of Object.values(tensors)) {
        for (const part of ['data', 'codes', 'scales', 'biases']) {
          for (const [shard, offset, bytes] of tensor[part] ?? []) {
            assert.ok(offset >= 0 && offset + bytes <= shards[shard].bytes, `seed ${seed}`);
          }
        }
      }
      seen.read += 1;
    } catch (error) {
      assert.equal(error.name, 'ModelError', `seed ${seed}: ${JSON.stringify(value)}: ${error.stack}`);
      seen.refused += 1;
    }
  }
  assert.ok(Math.min(...Object.values(seen)) > ROUNDS / 10, JSON.stringify(seen));
});
