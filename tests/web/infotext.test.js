/** The infotext that we write is read as it was meant, whatever the prompt and the model's name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseInfotext, writeInfotext } from '../../web/studio/infotext.js';
import { textsOf } from '../../web/studio/metadata.js';

const PAIRS = { Steps: 4, Sampler: 'Euler', 'CFG scale': 1, Seed: 7, Size: '64x48' };
const READ = { seed: '7', steps: '4', size: '64x48', width: '64', height: '48' };

test('the text is laid out as other studios have it', () => {
  assert.equal(writeInfotext({ prompt: 'a\nb', pairs: { ...PAIRS, Model: 'x, y' } }),
    'a\nb\nSteps: 4, Sampler: Euler, CFG scale: 1, Seed: 7, Size: 64x48, Model: "x, y"');
});

test('prompts come back, settings-like lines in them too', () => {
  for (const prompt of ['a tree', 'a castle (by night:1.2), <lora:ink:0.8>', 'день 木 🌳',
    'two\nlines', 'Seed: 9, a tree', 'Steps: of stone, two\nBREAK a moat']) {
    const read = parseInfotext(writeInfotext({ prompt, pairs: PAIRS }));
    assert.deepEqual(read, { prompt, negative: false, ...READ });
  }
});

test('names of models that look like settings stay names', () => {
  for (const name of ['x, Seed: 9', 'a "b", Seed: 9', 'Steps: 3', '[x, Seed: 9', 'a\nSteps: 9']) {
    const read = parseInfotext(writeInfotext({ prompt: 'a', pairs: { ...PAIRS, Model: name } }));
    assert.deepEqual(read, { prompt: 'a', negative: false, ...READ }, name);
  }
});

test('a negative prompt is told and kept out of the prompt', () => {
  const { prompt, negative } = parseInfotext('a tree\nNegative prompt: ugly\nSteps: 4, Seed: 7');
  assert.deepEqual({ prompt, negative }, { prompt: 'a tree', negative: true });
});

test('a text without settings is none', () => {
  for (const text of ['', 'a tree', 'a tree, by: day']) assert.equal(parseInfotext(text), null);
});

test('a picture carries its settings twice', () => {
  const settings = { prompt: 'a tree', seed: 7, width: 64, height: 48, steps: 4, model: 'Garden',
    precision: 'f32', version: 'x' };
  const { parameters, trefoil } = textsOf(settings);
  assert.deepEqual(JSON.parse(trefoil), settings);
  assert.deepEqual(parseInfotext(parameters), { prompt: 'a tree', negative: false, ...READ });
});
