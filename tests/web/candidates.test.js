/** Which kernels a device is offered for an op, and in which order. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';

import { candidatesFor, LIMITS, PRECISIONS, referenceOf } from '../../web/engine/candidates.js';
import { byteGroups } from '../../web/engine/linear.js';

const GPU = { f16: true, subgroup: 32, dot: true, software: false };
const OLD = { f16: false, subgroup: 0, dot: false, software: false };
const CPU = { ...GPU, software: true };
const LINEAR = { BITS: 2, ZERO: 1, GROUP: 128, FORMAT: 1 };
const OPS = { linear_packed: LINEAR, 'linear_packed few': LINEAR, linear_dense: {},
  attention: { DH: 64 }, conv2d: { KS: 3 } };
const namesOf = (candidates) => candidates.map(({ name }) => name);

test('every candidate is a kernel, and the reference is offered to every device', () => {
  for (const [op, constants] of Object.entries(OPS)) {
    const reference = referenceOf(op, constants);
    assert.equal(reference.precision, 'f32');
    for (const device of [GPU, OLD, CPU]) {
      const offered = candidatesFor(op, constants, device, 'int8');
      assert.ok(namesOf(offered).includes(reference.name), op);
      for (const { name, precision } of offered) {
        assert.ok(existsSync(new URL(`../../wgsl/${name}.wgsl`, import.meta.url)), name);
        assert.ok(precision in LIMITS);
      }
    }
  }
});

test('no candidate is less exact than was allowed, and those that use it up come first', () => {
  for (const [i, precision] of PRECISIONS.entries()) {
    for (const [op, constants] of Object.entries(OPS)) {
      const ranks = candidatesFor(op, constants, GPU, precision)
        .map((candidate) => PRECISIONS.indexOf(candidate.precision));
      assert.ok(ranks.every((rank) => rank <= i), op);
      assert.deepEqual(ranks, [...ranks].sort((a, b) => b - a), op);
    }
  }
  const [first] = candidatesFor('linear_packed', LINEAR, GPU, 'int8');
  assert.equal(first.precision, 'int8');
});

test('a device without f16, packed bytes or subgroups is offered no kernel that needs them', () => {
  const offered = candidatesFor('linear_packed', LINEAR, OLD, 'int8');
  assert.ok(offered.every(({ precision }) => precision === 'f32'));
  const software = (subgroup) => namesOf(
    candidatesFor('linear_packed', LINEAR, { ...CPU, subgroup }, 'f32'));
  assert.ok(software(8).includes('linear_packed_subgroup'));
  assert.ok(!software(4).includes('linear_packed_subgroup'));
});

test('what shares a scale as bytes divides a group of any width', () => {
  const spans = [16, 112, 128, 256, 272, 480, 3072, 15360].map(
    (GROUP) => byteGroups({ BITS: 1, GROUP }));
  assert.deepEqual(spans.map(({ GROUP }) => GROUP), [16, 112, 128, 256, 16, 32, 128, 128]);
  assert.deepEqual(spans.map(({ STRIDE }) => STRIDE), [4, 4, 8, 8, 4, 8, 8, 8]);
});

test('eight bits a weight are left to the kernels that take them', () => {
  const names = namesOf(candidatesFor('linear_packed', { ...LINEAR, BITS: 8 }, GPU, 'int8'));
  assert.ok(!names.includes('linear_packed_int8') && names.includes('linear_packed_tiled'));
  const few = namesOf(candidatesFor('linear_packed few', { ...LINEAR, BITS: 8 }, GPU, 'f32'));
  assert.deepEqual(few, ['linear_packed']);
});

test('tiles of attention keep to workgroup memory', () => {
  const tiled = (DH) => candidatesFor('attention', { DH }, GPU, 'f32')
    .find(({ name }) => name === 'attention_tiled')?.constants.QUERIES;
  assert.deepEqual([32, 64, 128, 256, 512].map(tiled), [32, 32, 32, 16, 8]);
  assert.equal(tiled(24), undefined); // not in 16s
  assert.equal(tiled(528), undefined);
});
