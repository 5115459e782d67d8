/** What is read from a kernel's file, what is compiled, the grid of a dispatch, its dims in bytes. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { assemble, placeOf, readKernel } from '../../web/engine/assembly.js';
import { ModelError, ShapeError } from '../../web/engine/errors.js';
import { gridOf, packDims } from '../../web/engine/kernels.js';

const WGSL = new URL('../../wgsl/', import.meta.url);
const textOf = (file) => readFileSync(new URL(`${file}.wgsl`, WGSL), 'utf8');
const SCALE = `// scale   y = x * factor
//   grid  rows*columns/ITEMS, rows
override ITEMS: u32 = 256;
override EXACT: bool = false;
struct Dims { rows: u32, columns: u32, factor: f32 }
@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
`;
const read = (text) => readKernel('scale', () => text);

test('an interface is what the file declares', () => {
  const { pieces, ...declared } = read(SCALE);
  assert.deepEqual(pieces, [{ file: 'scale', text: SCALE }]);
  assert.deepEqual(declared, {
    name: 'scale',
    dims: [{ field: 'rows', type: 'u32' }, { field: 'columns', type: 'u32' },
      { field: 'factor', type: 'f32' }],
    bindings: [{ slot: 1, name: 'x', writes: false }, { slot: 2, name: 'y', writes: true }],
    overrides: { ITEMS: 256, EXACT: 0 },
    stride: false,
    grid: ['rows*columns/ITEMS', 'rows'],
  });
});

test('declarations that are malformed are refused by name', () => {
  for (const [change, told] of [
    [['struct Dims', 'struct Other'], /scale\.wgsl declares no struct Dims or no grid line/],
    [['//   grid', '// grid'], /scale\.wgsl declares no struct Dims or no grid line/],
    [['@binding(2)', '@binding(1)'], /bound to one slot/],
    [['read_write', 'read'], /the last buffer, and it alone, must be read_write/],
    [['ITEMS: u32', 'ITEMS'], /an override is not/],
  ]) {
    assert.throws(() => read(SCALE.replace(...change)),
      (error) => error instanceof ModelError && told.test(error.message), change[0]);
  }
});

test('a variant is the text with its overrides as constants', () => {
  const made = assemble(read(SCALE), { ITEMS: 64, EXACT: true });
  assert.equal(made, SCALE.replace('override ITEMS: u32 = 256;', 'const ITEMS: u32 = 64u;')
    .replace('override EXACT: bool = false;', 'const EXACT: bool = true;'));
  assert.throws(() => assemble(read(SCALE), { TILE: 1 }), /scale\.wgsl has no override TILE/);
  assert.throws(() => assemble(read(SCALE), { ITEMS: 1.5 }), /ITEMS is a u32 and cannot be 1\.5/);
});

test('parts stand in front, and a line is found again in its file', () => {
  const files = { 'parts/one': '// part one\nfn one() {}\n',
    scale: SCALE.replace('//   grid', '//   parts  one\n//   grid') };
  const kernel = readKernel('scale', (file) => files[file]);
  const lines = assemble(kernel, {}).split('\n');
  assert.deepEqual([lines[1], lines[4]], ['fn one() {}', '//   grid  rows*columns/ITEMS, rows']);
  assert.deepEqual(placeOf(kernel, 2), { file: 'parts/one', line: 2 });
  assert.deepEqual(placeOf(kernel, 5), { file: 'scale', line: 3 });
});

test('a grid is products over a divisor, rounded up', () => {
  const kernel = read(SCALE);
  assert.deepEqual(gridOf(kernel, { rows: 3, columns: 86, ITEMS: 256 }), [2, 3, 1]);
  assert.deepEqual(gridOf(kernel, { rows: 1, columns: 256, ITEMS: 256 }), [1, 1, 1]);
  assert.throws(() => gridOf(kernel, { rows: 1, ITEMS: 256 }), /scale\.wgsl: grid names columns/);
});

test('a grid that WebGPU does not allow is refused, one that strides is cut', () => {
  const kernel = read(SCALE);
  const rows = { rows: 65536, columns: 1, ITEMS: 256 };
  assert.deepEqual(gridOf(kernel, { ...rows, rows: 65535 }), [256, 65535, 1]);
  assert.throws(() => gridOf(kernel, rows), ShapeError);
  assert.throws(() => gridOf(kernel, { ...rows, rows: 0 }), /a grid of \[0,0\] workgroups/);
  const stride = read(SCALE.replace('ITEMS, rows', 'ITEMS stride'));
  assert.deepEqual(gridOf(stride, { rows: 2 ** 20, columns: 256, ITEMS: 256 }), [65535, 1, 1]);
});

test('dims are packed in declared order, padded to 16 bytes', () => {
  const bytes = packDims(read(SCALE), { factor: 1.5, columns: 258, rows: 3 });
  assert.deepEqual([...bytes], [3, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0]);
  assert.throws(() => packDims(read(SCALE), { rows: 3, columns: 2 }),
    /scale: dim factor is undefined/);
});

test('every kernel is read, and leaves no override to the device', () => {
  const names = readdirSync(WGSL).filter((name) => name.endsWith('.wgsl'));
  assert.ok(names.length > 20);
  for (const file of names) {
    const kernel = readKernel(file.slice(0, -5), textOf);
    assert.ok(kernel.dims.length && kernel.grid.length <= 3, file);
    assert.doesNotMatch(assemble(kernel, {}), /^\s*override\b/m, file);
  }
});
