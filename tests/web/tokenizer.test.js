/** Prompts to token ids: Garden's tokenizer, against transformers', as diffusers calls it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { PromptTokenizer } from '../../web/api/tokenizer.js';
import { ModelError } from '../../web/engine/errors.js';
import { readGolden } from './goldens.js';

const FILE = new URL('../../models/garden-ternary/tokenizer/tokenizer.json', import.meta.url);
const { length, prefix, suffix, pad, prompts } = readGolden('prompts');
const PROMPT = { tokenizer: {}, template: { prefix, suffix }, length, mask: true, keep: null,
  padding: { id: pad, side: 'right' } };
const file = JSON.parse(readFileSync(FILE, 'utf8'));
const tokenizer = new PromptTokenizer(file, PROMPT);

/** Without the tokens that follow from the merges, as a site has the file. */
function shortened({ model, ...rest }) {
  const merged = new Set(model.merges.map((merge) => (
    typeof merge === 'string' ? merge.replace(' ', '') : merge.join(''))));
  const vocab = Object.fromEntries(Object.entries(model.vocab)
    .filter(([token]) => !merged.has(token)));
  return { ...rest, model: { ...model, vocab } };
}

test("prompts have transformers' ids, padded on the right", () => {
  for (const { text, ids, count, dropped } of prompts) {
    const got = tokenizer.encode(text);
    const want = [...ids, ...Array(length - count).fill(pad)];
    assert.deepEqual({ ...got, ids: [...got.ids] }, { ids: want, valid: count, count, dropped },
      text);
    const trimmed = tokenizer.encode(text, { textTokens: 'trimmed' });
    assert.deepEqual([...trimmed.ids], ids, text);
  }
  assert.ok(prompts.some(({ dropped }) => dropped > 0), 'some prompt is cut');
});

test('tokens that follow from the merges are put back', () => {
  const short = shortened(file);
  const left = Object.keys(short.model.vocab).length;
  assert.ok(left < Object.keys(file.model.vocab).length / 2);
  const other = new PromptTokenizer(short, PROMPT);
  for (const { text } of prompts) {
    assert.deepEqual(other.encode(text), tokenizer.encode(text), text);
  }
});

test('half a character is read as U+FFFD', () => {
  for (const [text, whole] of [['a \ud83d pine', 'a \ufffd pine'], ['\udf32\ud83c', '\ufffd\ufffd']]) {
    assert.deepEqual(tokenizer.encode(text), tokenizer.encode(whole));
  }
});

test('a prompt says whether padding is masked, and capitals are small ones', () => {
  const open = new PromptTokenizer(file, { ...PROMPT, mask: false });
  assert.equal(open.encode('a pine').valid, length);
  const lower = new PromptTokenizer(file, { ...PROMPT,
    template: { prefix, suffix, lower: true } });
  assert.deepEqual(lower.encode('A Pine'), tokenizer.encode('a pine'));
});

test('what is not done to a prompt here is refused', () => {
  for (const change of [{ padding: { id: pad, side: 'left' } }, { keep: [0, -299] }]) {
    assert.throws(() => new PromptTokenizer(file, { ...PROMPT, ...change }), ModelError);
  }
});
