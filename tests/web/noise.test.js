/** Seeds: the same numbers as torch's CPU generator. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { InputError } from '../../web/engine/errors.js';
import { TorchNoise, noiseTokens } from '../../web/models/samplers/noise.js';
import { floats, readGolden } from './goldens.js';

const golden = readGolden('noise');

for (const { seed, count, every, values } of golden.normal) {
  test(`${count} normal values of seed ${seed} are torch's`, () => {
    const got = new TorchNoise(seed).normals(count);
    assert.equal(got.length, count);
    floats(values).forEach((want, i) => {
      const difference = Math.abs(got[i * every] - want);
      assert.ok(difference <= 1e-6, `value ${i * every} is ${got[i * every]}, torch's is ${want}`);
    });
  });
}

for (const [seed, sha256] of Object.entries(golden.uniform)) {
  test(`uniforms of seed ${seed} are torch's bit for bit`, () => {
    const got = new TorchNoise(Number(seed)).uniforms(5000);
    assert.equal(createHash('sha256').update(got).digest('hex'), sha256);
  });
}

test("what is drawn goes on where the last draw ended, as torch's does", () => {
  const noise = new TorchNoise(golden.continued.seed);
  for (const draw of golden.continued.draws.map(floats)) {
    const got = noise.normals(draw.length);
    draw.forEach((want, i) => assert.ok(Math.abs(got[i] - want) <= 1e-6, `${i} of ${draw.length}`));
  }
});

test('seeds differ', () => {
  const [first, second] = [0, 1].map((seed) => new TorchNoise(seed).normals(1000));
  assert.ok(first.some((value, i) => Math.abs(value - second[i]) > 1));
});

test('tokens are the planes transposed', () => {
  const shape = { channels: 12, height: 3, width: 5 };
  const planes = new TorchNoise(9).normals(180);
  const tokens = noiseTokens(new TorchNoise(9), shape);
  assert.equal(tokens.length, 180);
  for (let c = 0; c < 12; c++) {
    for (let p = 0; p < 15; p++) assert.equal(tokens[p * 12 + c], planes[c * 15 + p]);
  }
});

test('planes are packed as FLUX.1 packs them, 2 x 2 to a token', () => {
  const shape = { channels: 12, height: 2, width: 5, patch: 2 };
  const planes = new TorchNoise(9).normals(120); // [3, 4, 10]
  const tokens = noiseTokens(new TorchNoise(9), shape);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 10; x++) {
        const token = 5 * (y >> 1) + (x >> 1);
        assert.equal(tokens[12 * token + 4 * c + 2 * (y % 2) + x % 2], planes[40 * c + 10 * y + x]);
      }
    }
  }
});

test('fewer values than a block are refused', () => {
  assert.throws(() => new TorchNoise(0).normals(15), InputError);
});
