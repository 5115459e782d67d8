/**
 * Sigmas: diffusers' own to the last bit, because one bit of a sigma turns the time embedding's
 * fastest waves by 1e-4 radians, which is most of what a picture would differ by.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { schedule, timestepOf } from '../../web/models/samplers/flow_euler.js';
import { floats, readGolden } from './goldens.js';

const { config, of } = readGolden('schedule');

for (const [tokens, { sigmas, sha256 }] of Object.entries(of)) {
  test(`${tokens} tokens: 1 to 50 steps have diffusers' sigmas and timesteps`, () => {
    for (const [steps, want] of Object.entries(sigmas)) {
      assert.deepEqual(schedule(Number(steps), Number(tokens), config), floats(want),
        `${steps} steps`);
    }
    const digest = createHash('sha256');
    for (let steps = 1; steps <= 50; steps++) {
      const made = schedule(steps, Number(tokens), config);
      digest.update(made).update(made.slice(0, steps).map(timestepOf));
    }
    assert.equal(digest.digest('hex'), sha256);
  });
}

test('a shift of its own is applied as diffusers does', () => {
  const fixed = { ...config, use_dynamic_shifting: false, shift: 3 };
  assert.deepEqual([...schedule(2, 64, fixed)], [1, 0.75, 0]);
});

test('settings that would change the sigmas are refused by name', () => {
  assert.throws(() => schedule(4, 64, { ...config, use_karras_sigmas: true }), /use_karras_sigmas/);
  assert.throws(() => schedule(4, 64, { ...config, time_shift_type: 'linear' }), /linear/);
});
