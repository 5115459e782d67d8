/** What is read from a kernel's file: its interface, the grid of a dispatch, its dims in bytes. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { ModelError, ShapeError } from '../../web/engine/errors.js';
import { gridOf, packDims, readInterface } from '../../web/engine/kernels.js';

const WGSL = new URL('../../wgsl/', import.meta.url);
const SCALE = `// scale   y = x * factor
//   grid  rows*columns/ITEMS, rows
override ITEMS : u32 = 256;
override EXACT = false;
struct Dims { rows: u32, columns: u32, factor: f32 }
@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
`;

test('an interface is what the file declares', () => {
  assert.deepEqual(readInterface('scale', SCALE), {
    name: 'scale',
    dims: [{ field: 'rows', type: 'u32' }, { field: 'columns', type: 'u32' },
      { field: 'factor', type: 'f32' }],
    bindings: [{ slot: 1, name: 'x', writes: false }, { slot: 2, name: 'y', writes: true }],
    overrides: { ITEMS: 256, EXACT: 0 },
    stride: false,
    grid: ['rows*columns/ITEMS', 'rows'],
  });
});

test('a text without Dims or grid is refused by name', () => {
  for (const absent of ['struct Dims', '//   grid']) {
    assert.throws(() => readInterface('scale', SCALE.replace(absent, '')), (error) => (
      error instanceof ModelError && error.message.startsWith('scale.wgsl declares no')));
  }
});

test('a grid is products over a divisor, rounded up', () => {
  const kernel = readInterface('scale', SCALE);
  assert.deepEqual(gridOf(kernel, { rows: 3, columns: 86, ITEMS: 256 }), [2, 3, 1]);
  assert.deepEqual(gridOf(kernel, { rows: 1, columns: 256, ITEMS: 256 }), [1, 1, 1]);
  assert.throws(() => gridOf(kernel, { rows: 1, ITEMS: 256 }), /scale\.wgsl: grid names columns/);
});

test('a grid that WebGPU does not allow is refused, one that strides is cut', () => {
  const kernel = readInterface('scale', SCALE);
  const rows = { rows: 65536, columns: 1, ITEMS: 256 };
  assert.deepEqual(gridOf(kernel, { ...rows, rows: 65535 }), [256, 65535, 1]);
  assert.throws(() => gridOf(kernel, rows), ShapeError);
  assert.throws(() => gridOf(kernel, { ...rows, rows: 0 }), /a grid of \[0,0\] workgroups/);
  const stride = readInterface('scale', SCALE.replace('ITEMS, rows', 'ITEMS stride'));
  assert.deepEqual(gridOf(stride, { rows: 2 ** 20, columns: 256, ITEMS: 256 }), [65535, 1, 1]);
});

test('dims are packed in declared order, padded to 16 bytes', () => {
  const bytes = packDims(readInterface('scale', SCALE), { factor: 1.5, columns: 258, rows: 3 });
  assert.deepEqual([...bytes], [3, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0]);
  assert.throws(() => packDims(readInterface('scale', SCALE), { rows: 3, columns: 2 }),
    /scale: dim factor is undefined/);
});

test('every kernel has an interface, whose last buffer alone is written', () => {
  const names = readdirSync(WGSL).filter((name) => name.endsWith('.wgsl'));
  assert.ok(names.length > 20);
  for (const file of names) {
    const face = readInterface(file.slice(0, -5), readFileSync(new URL(file, WGSL), 'utf8'));
    assert.ok(face.dims.length && face.grid.length <= 3, file);
    assert.equal(face.bindings.findIndex(({ writes }) => writes), face.bindings.length - 1, file);
    assert.ok(face.bindings.every(({ slot }, i) => slot === i + 1), file);
  }
});
