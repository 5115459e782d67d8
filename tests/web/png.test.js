/** PNG files that the page writes, taken apart by the format's own rules. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inflateSync } from 'node:zlib';

import { packPixels, readTexts, withTexts } from '../../web/studio/png.js';

const RGBA = Uint8ClampedArray.of(255, 0, 0, 255, 1, 2, 3, 255, 9, 8, 7, 255, 250, 251, 252, 255,
  0, 0, 0, 255, 128, 64, 32, 255);
const PICTURE = { rgba: RGBA, width: 2, height: 3 };

/** @returns {{ type: string, data: Buffer }[]} */
function chunksOf(bytes) {
  const chunks = [];
  assert.equal(bytes.toString('latin1', 0, 8), '\x89PNG\r\n\x1a\n');
  for (let at = 8; at < bytes.length;) {
    const length = bytes.readUInt32BE(at);
    chunks.push({ type: bytes.toString('latin1', at + 4, at + 8),
      data: bytes.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return chunks;
}

const bytesOf = async (blob) => Buffer.from(await blob.arrayBuffer());

test('pixels are opaque RGB of 8 bits, rows filtered by "Up"', async () => {
  const file = await packPixels(PICTURE);
  assert.equal(file.type, 'image/png');
  const [header, data, end] = chunksOf(await bytesOf(file));
  assert.deepEqual([header.type, data.type, end.type], ['IHDR', 'IDAT', 'IEND']);
  assert.deepEqual([...header.data], [0, 0, 0, 2, 0, 0, 0, 3, 8, 2, 0, 0, 0]);
  const rows = inflateSync(data.data);
  const pixels = [];
  for (let y = 0; y < 3; y++) {
    assert.equal(rows[7 * y], 2);
    for (let x = 0; x < 6; x++) pixels.push((rows[7 * y + 1 + x] + (pixels[6 * y + x - 6] ?? 0)) % 256);
  }
  assert.deepEqual(pixels, [...RGBA].filter((_, i) => i % 4 !== 3));
});

test('texts stand behind the header and are read again', async () => {
  const texts = { parameters: 'a tree\nSteps: 4', trefoil: '{"prompt":"день 木 🌳"}' };
  const file = withTexts(await packPixels(PICTURE), texts);
  const types = chunksOf(await bytesOf(file)).map(({ type }) => type);
  assert.deepEqual(types, ['IHDR', 'iTXt', 'iTXt', 'IDAT', 'IEND']);
  const read = await readTexts(file, ['parameters', 'trefoil', 'absent']);
  assert.deepEqual(Object.fromEntries(read.texts), texts);
  assert.equal(read.damaged, false);
});

test('every checksum is that of the format', async () => {
  const bytes = await bytesOf(withTexts(await packPixels(PICTURE), { Comment: 'x' }));
  // "IEND" without data: AE 42 60 82, as in every PNG
  assert.equal(bytes.subarray(-4).toString('hex'), 'ae426082');
  bytes[bytes.indexOf('Comment') + 12] ^= 1;
  const { texts, damaged } = await readTexts(new Blob([bytes]), ['Comment']);
  assert.ok(damaged && texts.get('Comment') === 'y');
});

test('what is no PNG is none', async () => {
  assert.equal(await readTexts(new Blob(['GIF89a']), ['Comment']), null);
  assert.equal(await readTexts(new Blob([]), ['Comment']), null);
});
