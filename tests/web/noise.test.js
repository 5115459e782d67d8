/** Seeds: the same numbers as torch's CPU generator. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { InputError } from '../../web/engine/errors.js';
import { noiseTokens, torchRandn, uniforms } from '../../web/models/samplers/noise.js';
import { floats, readGolden } from './goldens.js';

const golden = readGolden('noise');

for (const { seed, count, every, values } of golden.normal) {
  test(`${count} normal values of seed ${seed} are torch's`, () => {
    const got = torchRandn(seed, count);
    assert.equal(got.length, count);
    floats(values).forEach((want, i) => {
      const difference = Math.abs(got[i * every] - want);
      assert.ok(difference <= 1e-6, `value ${i * every} is ${got[i * every]}, torch's is ${want}`);
    });
  });
}

for (const [seed, sha256] of Object.entries(golden.uniform)) {
  test(`uniforms of seed ${seed} are torch's bit for bit`, () => {
    const got = uniforms(Number(seed), 5000);
    assert.equal(createHash('sha256').update(got).digest('hex'), sha256);
  });
}

test('seeds differ', () => {
  const [first, second] = [0, 1].map((seed) => torchRandn(seed, 1000));
  assert.ok(first.some((value, i) => Math.abs(value - second[i]) > 1));
});

test('tokens are the planes transposed', () => {
  const shape = { channels: 12, height: 3, width: 5 };
  const planes = torchRandn(9, 180);
  const tokens = noiseTokens(9, shape);
  assert.equal(tokens.length, 180);
  for (let c = 0; c < 12; c++) {
    for (let p = 0; p < 15; p++) assert.equal(tokens[p * 12 + c], planes[c * 15 + p]);
  }
});

test('fewer values than a block are refused', () => {
  assert.throws(() => torchRandn(0, 15), InputError);
});
