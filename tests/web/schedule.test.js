/**
 * Sigmas: diffusers' own to the last bit, because one bit of a sigma turns the time embedding's
 * fastest waves by 1e-4 radians, which is most of what a picture would differ by.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { ModelError } from '../../web/engine/errors.js';
import { timestepOf } from '../../web/models/denoisers/time_embedding.js';
import { FlowEuler } from '../../web/models/samplers/flow_euler.js';
import { floats, readGolden } from './goldens.js';

const GOLDENS = { empirical: readGolden('schedule'), dynamic: readGolden('flux1_schedule') };
const { config } = GOLDENS.empirical;
const sampler = (steps, tokens, own = {}, shift = 'empirical') => (
  new FlowEuler({ shift, config: { ...config, ...own } }, { steps, tokens }));

for (const [shift, { config: own, of }] of Object.entries(GOLDENS)) {
  for (const [tokens, { sigmas, sha256 }] of Object.entries(of)) {
    test(`${shift}, ${tokens} tokens: 1 to 50 steps have diffusers' sigmas and timesteps`, () => {
      for (const [steps, want] of Object.entries(sigmas)) {
        assert.deepEqual(sampler(Number(steps), Number(tokens), own, shift).sigmas, floats(want),
          `${steps} steps`);
      }
      const digest = createHash('sha256');
      for (let steps = 1; steps <= 50; steps++) {
        const { sigmas: made, times } = sampler(steps, Number(tokens), own, shift);
        digest.update(made).update(Float32Array.from(times, timestepOf));
      }
      assert.equal(digest.digest('hex'), sha256);
    });
  }
}

test('a shift of its own is applied as diffusers does', () => {
  assert.deepEqual([...sampler(2, 64, { shift: 3 }, 'static').sigmas], [1, 0.75, 0]);
});

test('settings that would change the sigmas are refused by name', () => {
  for (const [own, shift, told] of [
    [{ use_karras_sigmas: true }, 'empirical', /use_karras_sigmas/],
    [{ time_shift_type: 'linear' }, 'empirical', /linear/],
    [{}, 'odd', /"odd", expected one of empirical, dynamic, static, twice/],
  ]) {
    assert.throws(() => sampler(4, 64, own, shift),
      (error) => error instanceof ModelError && told.test(error.message));
  }
});

test('a step goes along the velocity, as far as sigma falls', () => {
  const added = [];
  const executor = { addScaled: (...call) => added.push(call) };
  const made = new FlowEuler({ shift: 'static', config: { ...config, shift: 1 } },
    { steps: 2, tokens: 4, executor });
  const noise = Float32Array.of(1, 2);
  assert.equal(made.start(noise), noise);
  assert.deepEqual(made.times, [1000, 500]);
  made.step(0, 'latents', 'velocity');
  assert.deepEqual(added, [['latents', 'velocity', -0.5]]);
  assert.deepEqual([...made.clean(0, Float32Array.of(1, 2), Float32Array.of(4, 8))], [-3, -6]);
});
