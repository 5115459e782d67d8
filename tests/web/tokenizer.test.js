/** Prompts to token ids: Garden's tokenizer, against transformers', as diffusers calls it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { blankTexts, PromptTokenizer } from '../../web/api/tokenizer.js';
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

test('blanks around a prompt go as Python strips them', () => {
  const stripped = new PromptTokenizer(file, { ...PROMPT,
    template: { prefix: '', suffix: '', strip: true } });
  const plain = new PromptTokenizer(file, { ...PROMPT, template: { prefix: '', suffix: '' } });
  for (const [text, left] of [['  a pine \n', 'a pine'], ['\u001c\u0085a\u3000', 'a'],
    ['\ufeff a', '\ufeff a'], [' \t ', '']]) {
    assert.deepEqual(stripped.encode(text), plain.encode(left), JSON.stringify(text));
  }
});

const ROWS = 12;
const TEXT = 'paint what is asked for: ';
const BARE = { ...PROMPT, template: { prefix: '', suffix: '' }, length: ROWS, keep: [[0, ROWS]] };
const own = new PromptTokenizer(file, BARE).encode(TEXT, { textTokens: 'trimmed' }).ids.length;
const INSTRUCTION = { text: TEXT, length: own + ROWS - 2, keep: [[0, 1], [own - 1, ROWS - 1]],
  prefix: own - 1 };
const INSTRUCTED = { ...BARE, instruction: INSTRUCTION };

test('an instruction stands before prompts, and the rows behind it go on', () => {
  const instructed = new PromptTokenizer(file, INSTRUCTED);
  const whole = new PromptTokenizer(file, { ...BARE, length: 99, keep: null });
  for (const [text, dropped] of [['a pine', false], ['', false], ['a pine, '.repeat(9), true]]) {
    const { ids, valid, keep, prefix, ...counts } = instructed.encode(text);
    const all = whole.encode(TEXT + text, { textTokens: 'trimmed' }).ids;
    assert.equal(ids.length, INSTRUCTION.length);
    assert.deepEqual(ids.slice(0, valid), all.slice(0, INSTRUCTION.length), text);
    assert.deepEqual(keep, [[0, 1], [own - 1, valid - own + 1]], text);
    assert.equal(prefix, own - 1);
    assert.equal(counts.dropped > 0, dropped);
    assert.equal(counts.count, 1 + keep[1][1], 'the rows that go on');
    assert.equal(counts.count + counts.dropped, all.length - own + 2, 'all that was written');
  }
  assert.equal(instructed.length, ROWS, 'what a prompt may have');
});

test('no instruction stands before a negative prompt', () => {
  const instructed = new PromptTokenizer(file, INSTRUCTED);
  const plain = new PromptTokenizer(file, BARE);
  for (const text of ['a wall', '']) {
    const got = instructed.encode(text, { negative: true });
    assert.deepEqual(got, plain.encode(text));
    assert.deepEqual(got.keep, got.valid ? [[0, got.valid]] : []);
    assert.equal(got.ids.length, ROWS);
    assert.ok(!('prefix' in got));
  }
});

test('blank texts have the most rows that any text of their length has', () => {
  assert.deepEqual(blankTexts([INSTRUCTED], [[], []]), [
    [{ ids: new Int32Array(INSTRUCTION.length), valid: INSTRUCTION.length, keep: INSTRUCTION.keep,
      prefix: INSTRUCTION.prefix }],
    [{ ids: new Int32Array(ROWS), valid: ROWS, keep: [[0, ROWS]] }],
  ]);
  assert.deepEqual(blankTexts([INSTRUCTED, PROMPT], [[own + 2, 3]])[0], [
    { ids: new Int32Array(own + 2), valid: own + 2, keep: [[0, 1], [own - 1, 3]],
      prefix: own - 1 },
    { ids: new Int32Array(3), valid: 3 },
  ]);
});

test('what is not done to a prompt here is refused', () => {
  assert.throws(() => new PromptTokenizer(file, { ...PROMPT, padding: { id: pad, side: 'left' } }),
    ModelError);
});
