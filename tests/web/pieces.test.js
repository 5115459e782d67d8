/** A BPE whose merges follow from its tokens: what goes first, and letters that are no tokens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Pieces } from '../../web/api/pieces.js';

const BYTES = Array.from({ length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
const LETTERS = ['a', 'b', 'c', 'd', '雪', '🦊'];

/** Tokens with the lowest ids first, then letters and bytes. */
function pieces(tokens, { tied = [], letters = LETTERS } = {}) {
  const all = [...tokens, ...letters, ...BYTES];
  return new Pieces(all.join(' '), tied.map((token) => all.indexOf(token)));
}

test('every token has its id, and nothing else has one', () => {
  const all = ['ab', 'bc', ...LETTERS, ...BYTES];
  const made = pieces(['ab', 'bc']);
  for (const [id, token] of all.entries()) assert.equal(made.idOf(token), id, token);
  for (const other of ['', 'x', 'abc', 'ab bc', '<0x', '雪雪']) {
    assert.equal(made.idOf(other), undefined, other);
  }
});

test('the lowest id is made first, then what comes first in the text', () => {
  assert.deepEqual(pieces(['bc', 'ab']).split('abc'), ['a', 'bc']);
  assert.deepEqual(pieces(['ab', 'bc']).split('abc'), ['ab', 'c']);
  assert.deepEqual(pieces(['aa']).split('aaaaa'), ['aa', 'aa', 'a']);
  assert.deepEqual(pieces(['ab', 'cd', 'abcd', 'bcd']).split('abcdbcd'), ['abcd', 'bcd']);
});

test('a token may be made in several ways', () => {
  const made = pieces(['abc', 'ab', 'bc', 'ad'], { letters: ['a', 'b', 'c', 'd'] });
  assert.deepEqual(made.split('abc'), ['abc']);
  assert.deepEqual(pieces(['ab', 'aba', 'ba']).split('ababa'), ['ab', 'aba']);
});

test('tied tokens go before all others, the longest halves first', () => {
  assert.deepEqual(pieces(['ab', 'bc'], { tied: ['bc'] }).split('abc'), ['a', 'bc']);
  const runs = ['aa', 'aaa', 'aaaa'];
  assert.deepEqual(pieces(runs, { tied: runs }).split('aaaaaa'), ['aaaa', 'aa']);
  const three = ['bb', 'abb', 'bba'];
  assert.deepEqual(pieces(three, { tied: three }).split('abba'), ['a', 'bba']);
  assert.deepEqual(pieces(three).split('abba'), ['abb', 'a']);
  assert.deepEqual(pieces(['ab', 'bcd', 'bc', 'cd'], { tied: ['bcd', 'ab'] }).split('abcd'),
    ['ab', 'cd']);
});

test('a letter that is no token is its bytes, and merges with nothing', () => {
  const made = pieces(['ab', '🦊x', '<0xC3>b']);
  assert.deepEqual(made.split('aéb'), ['a', '<0xC3>', '<0xA9>', 'b']);
  assert.deepEqual(made.split('🦊x雪'), ['🦊', '<0x78>', '雪']);
  assert.deepEqual(made.split('🌲'), ['<0xF0>', '<0x9F>', '<0x8C>', '<0xB2>']);
  assert.deepEqual(made.split(''), []);
});

test('what is as long as the queue gets is merged in one go', () => {
  const made = pieces(['ab', 'abab', 'cd']);
  assert.deepEqual(made.split('abab'.repeat(2000)), Array(2000).fill('abab'));
  assert.deepEqual(made.split('dcba'.repeat(500)), [...'dcba'.repeat(500)]);
});
