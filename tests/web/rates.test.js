/** Of the bench's rows: how fast this engine multiplies, by what a visitor allows. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { linearRates } from '../../web/bench/rows.js';

const line = (precision, gflops, more = {}) => ({ kind: 'ours', precision, gflops, ...more });

test('a precision has the best rate of all that is no less exact', () => {
  const rows = [
    { op: 'linear', M: 512, lines: [line('f32', 900), line('f16', 700), line('int8', 5200)] },
    { op: 'linear', M: 256, lines: [line('f32', 850), line('f16', 1400)] }];
  assert.deepEqual(linearRates(rows), { f32: 900, f16: 1400, int8: 5200 });
});

test('few rows, other ops, others\' kernels and wrong or missing results tell nothing', () => {
  const rows = [
    { op: 'linear', M: 1, lines: [line('f32', 9000)] },
    { op: 'attention', M: 512, lines: [line('f32', 9000)] },
    { op: 'linear', M: 512, failed: 'the device was lost' },
    { op: 'linear', M: 512, lines: [line('f32', 9000, { kind: 'theirs' }),
      line('f32', 9000, { wrong: true }), { kind: 'ours', precision: 'f32', failed: 'no' }] }];
  assert.deepEqual(linearRates(rows), { f32: 0, f16: 0, int8: 0 });
});
