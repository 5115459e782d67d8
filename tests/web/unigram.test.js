/** Unigram: the best way to write a word in tokens, and letters that are none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Unigram } from '../../web/api/unigram.js';

const [UNKNOWN, SPACE] = ['<unk>', '\u2581'];

function split(scores, text) {
  return new Unigram([[UNKNOWN, 0], ...Object.entries(scores)], 0).split(text);
}

test('the highest sum counts, not the longest token', () => {
  assert.deepEqual(split({ a: -1, b: -1, ab: -3 }, 'abab'), ['a', 'b', 'a', 'b']);
  assert.deepEqual(split({ a: -1, b: -1, ab: -1.5 }, 'abab'), ['ab', 'ab']);
  assert.deepEqual(split({ a: -4, b: -4, c: -1, ab: -5, bc: -5 }, 'abc'), ['ab', 'c']);
});

test('of equal sums the one whose last token is the longest', () => {
  assert.deepEqual(split({ a: -1, b: -1, c: -1, ab: -2, bc: -2 }, 'abc'), ['a', 'bc']);
  assert.deepEqual(split({ a: -1, ab: -2, b: -1 }, 'ab'), ['ab']);
});

test('unknown letters side by side are one token, of whatever planes they are', () => {
  assert.deepEqual(split({ a: -1 }, 'a雪🦊a🦊'), ['a', UNKNOWN, 'a', UNKNOWN]);
  assert.deepEqual(split({ a: -1, '🦊': -2 }, '🦊雪🦊'), ['🦊', UNKNOWN, '🦊']);
});

test('a token is worth more than a letter that could not be read, however rare it is', () => {
  assert.deepEqual(split({ a: -1, '雪b': -30 }, 'a雪b'), ['a', '雪b']);
  assert.deepEqual(split({ a: -1, b: -1, '雪b': -42 }, 'a雪b'), ['a', '雪b']);
  assert.deepEqual(split({ a: -1, b: -1, '雪b': -12, c: -1 }, '雪bc'), ['雪b', 'c']);
});

test('no token reaches from one word into the next, and each has its own unknown letters', () => {
  const scores = { [SPACE]: -3, [`a${SPACE}`]: 0, a: -1, [`${SPACE}a`]: -1 };
  assert.deepEqual(split(scores, `a${SPACE}a`), ['a', `${SPACE}a`]);
  assert.deepEqual(split({ a: -1 }, `${SPACE}雪${SPACE}雪`), [UNKNOWN, UNKNOWN]);
  assert.deepEqual(split(scores, ''), []);
});
