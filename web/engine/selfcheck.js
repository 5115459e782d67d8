/**
 * Every kernel variant that a model uses computes a small known answer before anything is
 * downloaded: a driver or a shader compiler that gets one wrong is found out here, with both
 * numbers, and not in the picture.
 */
import { LIMITS } from './candidates.js';
import { UnsupportedError } from './errors.js';
import { CASES } from './selfcheck_cases.js';

/** All kernels; their files are `<name>.wgsl`. */
export const KERNELS = Object.keys(CASES);

/** Relative error (Frobenius norm) that f32 arithmetic stays far below. */
const LIMIT = 1e-4;

/**
 * @param {import('./ops.js').Ops} ops
 * @param {Iterable<[string, object]>} variants kernels and their constants
 * @throws {UnsupportedError} naming the kernel, its result and the expected one
 */
export async function selfCheck(ops, variants) {
  const checks = [...variants].map(([name, constants]) => {
    const defaults = { ...ops.interfaceOf(name).overrides, ...constants };
    return { name, constants, ...CASES[name](defaults) };
  });
  for (const check of checks) {
    const { name, constants, dims, reads, start, expected } = check;
    const tensors = reads.map((data, i) => ops.upload(data, [data.length], `${name} input ${i}`));
    check.result = ops.upload(start, [start.length], `${name} result`);
    ops.dispatch(name, { constants, dims, tensors: [...tensors, check.result] });
    check.type = expected.constructor;
  }
  try {
    for (const { name, constants, result, expected, type } of checks) {
      compare(`${name} ${JSON.stringify(constants)}`, new type(await ops.read(result)), expected,
        constants.F16 ? LIMITS.f16 : LIMIT);
    }
  } finally {
    ops.reset();
  }
}

/** Integers must be equal; floats close. NaN fails. */
function compare(label, got, want, close) {
  let difference = 0;
  let size = 0;
  let worst = 0;
  want.forEach((value, i) => {
    const error = Math.abs(got[i] - value);
    difference += error * error;
    size += value * value;
    if (!(error <= Math.abs(got[worst] - want[worst]))) worst = i;
  });
  const limit = want instanceof Uint32Array ? 0 : close;
  if (!(Math.sqrt(difference / size) <= limit)) {
    throw new UnsupportedError(`This GPU computes ${label} wrongly: `
      + `element ${worst} is ${got[worst]}, expected ${want[worst]}. `
      + 'Update the graphics driver or the browser, or use another one.');
  }
}
