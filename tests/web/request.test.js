/** What may be asked: of the library, and in the studio's form. */
import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { test } from 'node:test';

import { MAX_STEPS } from '../../web/api/limits.js';
import { checkPicture, checkPlan, complete, fractionOf } from '../../web/api/request.js';
import { InputError } from '../../web/engine/errors.js';
import { isWritten, readRequest, rollSeed } from '../../web/studio/request.js';

globalThis.crypto ??= webcrypto; // which Node.js 18 does not offer by itself

const MANIFEST = { latents: { pixels: 16 }, prompts: [{ mask: true }] };
const REQUEST = { prompt: 'a tree', seed: 7, width: 64, height: 48, steps: 4,
  textTokens: 'padded', memory: 'auto' };
const FORM = { prompt: ' a tree ', seed: '7', width: '64', height: '48', steps: '4', count: '2' };

test('a request within limits passes', () => {
  checkPicture(MANIFEST, REQUEST);
  checkPicture(MANIFEST, { ...REQUEST, prompt: '', seed: Number.MAX_SAFE_INTEGER, steps: MAX_STEPS });
});

test('text that is padded without a mask is not trimmed', () => {
  const asked = { ...REQUEST, textTokens: 'trimmed' };
  checkPlan(MANIFEST, asked);
  const unmasked = { ...MANIFEST, prompts: [{ mask: true }, { mask: false }] };
  checkPlan(unmasked, REQUEST);
  assert.throws(() => checkPlan(unmasked, asked), /textTokens is trimmed, but this model reads/);
});

test('what is outside is refused by name, with what may be asked', () => {
  for (const [change, told] of [
    [{ prompt: 7 }, /prompt is a number, expected a string/],
    [{ seed: -1 }, /seed is -1, expected a whole number from 0 to/],
    [{ seed: 2 ** 53 }, /seed is 9007199254740992/],
    [{ seed: 1.5 }, /seed is 1.5/],
    [{ steps: 0 }, /steps is 0, expected a whole number from 1 to 50/],
    [{ steps: 51 }, /steps is 51/],
    [{ memory: 'much' }, /memory is "much", expected one of auto, small/],
    [{ textTokens: 'all' }, /textTokens is "all", expected one of padded, trimmed/],
    [{ width: 60 }, /width is 60, expected a multiple of 16: 48 or 64/],
    [{ height: 1 }, /height is 1, expected a multiple of 16: 16 or 32/],
    [{ height: NaN }, /height is NaN, expected a multiple of 16/],
  ]) {
    assert.throws(() => checkPicture(MANIFEST, { ...REQUEST, ...change }),
      (error) => error instanceof InputError && told.test(error.message), JSON.stringify(change));
  }
});

test('a size is in steps of the model', () => {
  const manifest = { latents: { pixels: 32 } };
  checkPlan(manifest, { ...REQUEST, width: 96, height: 64 });
  assert.throws(() => checkPlan(manifest, { ...REQUEST, width: 96 }), /height is 48.* 32 or 64/);
});

const takes = (guidance) => ({ latents: { pixels: 16 },
  pipeline: { width: 64, height: 48, num_inference_steps: 4, guidance } });
const DEFAULTS = { textTokens: 'padded', memory: 'auto' };

test('guidance is what the model takes', () => {
  const plain = { kind: 'none', scale: 1, negative: false };
  const { guided, guidanceScale } = complete(takes(plain), { prompt: 'a' }, DEFAULTS);
  assert.deepEqual([guided, guidanceScale], [false, 1]);
  const embedded = { kind: 'embedded', scale: 3.5, negative: false };
  for (const [guidance, change, told] of [
    [plain, { guidanceScale: 1 }, /guidanceScale is 1, but this model takes none.*Leave/],
    [plain, { negativePrompt: '' }, /negativePrompt is "", but this model takes none.*Leave/],
    [embedded, { negativePrompt: 'fog' }, /negativePrompt is "fog", but this model takes none/],
    [embedded, { guidanceScale: '3' }, /guidanceScale is 3, expected a number/],
    [{ kind: 'cfg', scale: 4, negative: true }, { negativePrompt: 7 },
      /negativePrompt is a number, expected a string/],
  ]) {
    assert.throws(() => complete(takes(guidance), { prompt: 'a', ...change }, DEFAULTS),
      (error) => error instanceof InputError && told.test(error.message), JSON.stringify(change));
  }
  assert.equal(complete(takes(embedded), { guidanceScale: 2 }, DEFAULTS).guidanceScale, 2);
});

test('a scale above one leads away from a second text', () => {
  const manifest = takes({ kind: 'cfg', scale: 4.5, negative: true });
  const made = complete(manifest, { prompt: 'a' }, DEFAULTS);
  assert.deepEqual([made.guided, made.guidanceScale, made.negativePrompt], [true, 4.5, '']);
  assert.equal(complete(manifest, { guidanceScale: 1 }, DEFAULTS).guided, false);
  assert.equal(complete(manifest, { negativePrompt: 'fog' }, DEFAULTS).negativePrompt, 'fog');
  manifest.pipeline.negative_prompt = 'grey';
  assert.equal(complete(manifest, { prompt: 'a' }, DEFAULTS).negativePrompt, 'grey');
  assert.equal(complete(manifest, { negativePrompt: '' }, DEFAULTS).negativePrompt, '');
});

test('what is done of a picture only grows', () => {
  const events = [{ stage: 'download' }, { stage: 'encode' }, { stage: 'reference' },
    ...[0, 1, 2, 3].map((step) => ({ stage: 'denoise', step, steps: 4 })), { stage: 'decode' }];
  const fractions = events.map(fractionOf);
  assert.deepEqual(fractions, [...fractions].sort((a, b) => a - b));
  assert.ok(fractions.every((fraction) => fraction >= 0 && fraction < 1));
});

test('a written form becomes a request', () => {
  assert.deepEqual(readRequest(FORM, 16), { count: 2,
    request: { prompt: 'a tree', seed: 7, width: 64, height: 48, steps: 4 } });
});

test('the first wrong field is told', () => {
  const last = String(Number.MAX_SAFE_INTEGER);
  assert.ok('request' in readRequest({ ...FORM, steps: `${MAX_STEPS}` }, 16));
  for (const [change, field] of [
    [{ prompt: '  ' }, 'prompt'], [{ width: '' }, 'width'], [{ width: '60' }, 'width'],
    [{ height: '-48' }, 'height'], [{ seed: '1e3' }, 'seed'], [{ seed: last }, 'seed'],
    [{ steps: '51' }, 'steps'], [{ count: '17' }, 'count'], [{ prompt: '', count: '0' }, 'prompt'],
  ]) {
    const read = readRequest({ ...FORM, ...change }, 16);
    assert.equal(read.field, field, JSON.stringify(change));
    assert.ok(read.message.length > 10);
  }
  assert.ok('request' in readRequest({ ...FORM, seed: last, count: '1' }, 16));
});

test('a field that says no value is not written', () => {
  assert.ok(isWritten('prompt', '') && isWritten('seed', '0') && isWritten('steps', '4'));
  assert.ok(!isWritten('steps', '0') && !isWritten('seed', 'x') && !isWritten('width', ''));
});

test('a rolled seed is short enough to read out', () => {
  for (let i = 0; i < 100; i++) {
    const seed = rollSeed();
    assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 1e6);
  }
});
