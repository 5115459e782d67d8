/**
 * Every kernel variant that a model uses computes a small known answer, several times over the same
 * buffers: before anything is downloaded, and again after each picture. A driver or a shader
 * compiler that gets one wrong, at once or later, is found out by that, and not by the picture.
 */
import { LIMITS } from './candidates.js';
import { Kernels } from './kernels.js';
import { Tensor } from './memory.js';
import { CASES } from './selfcheck/cases.js';

/** All kernels; their files are `<name>.wgsl`. */
export const KERNELS = Object.keys(CASES);

/** Relative error (Frobenius norm) that f32 arithmetic stays far below. */
const LIMIT = 1e-4;

/** So many dispatches in a row, and each twice: one in a hundred that is lost is noticed. */
const DISPATCHES = 128;
const ROUNDS = 2;

/** What was worked out for a variant; the same for every device. */
const known = new Map();

/**
 * Compared with the known answer, not with an earlier result bit by bit: a driver may compile a
 * kernel anew, which moves last bits and is no fault.
 * @param {import('./ops.js').Ops} ops with nothing recorded; it is reset
 * @param {Iterable<[string, object]>} variants kernels and their constants
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<string>} what was computed wrongly: the kernel, its result and the expected
 *   one; '' if nothing was
 */
export async function findWrong(ops, variants, { signal } = {}) {
  const checks = [...variants].map(([name, constants]) => caseOf(ops, name, constants));
  const rounds = Math.max(ROUNDS, Math.ceil(DISPATCHES / checks.length));
  try {
    const results = await ops.read(record(ops, checks, rounds), { signal });
    let at = 0;
    for (let round = 0; round < rounds; round++) {
      for (const { label, start, expected, limit } of checks) {
        const got = new expected.constructor(results, at, expected.length);
        const wrong = compare(label, got, expected, limit);
        if (wrong) return wrong;
        at += start.byteLength;
      }
    }
    return '';
  } finally {
    ops.reset();
  }
}

/** A kernel's case and its known answer. */
function caseOf(ops, name, constants) {
  const key = Kernels.key(name, constants);
  if (!known.has(key)) {
    const made = CASES[name]({ ...ops.interfaceOf(name).overrides, ...constants });
    known.set(key, { name, constants, label: `${name} ${JSON.stringify(constants)}`, ...made,
      limit: constants.F16 ? LIMITS.f16 : LIMIT });
  }
  return known.get(key);
}

/** Records all cases, `rounds` times. @returns {Tensor} the results, one after another */
function record(ops, checks, rounds) {
  const calls = checks.map(({ name, constants, dims, reads, start }) => {
    const tensors = reads.map((data, i) => ops.upload(data, [data.length], `${name} input ${i}`));
    const before = ops.upload(start, [start.length], `${name} before`);
    const result = ops.empty([start.length], `${name} result`);
    return { name, before, result, call: { constants, dims, tensors: [...tensors, result] } };
  });
  const counts = checks.map(({ start }) => start.length);
  const all = ops.empty([rounds * counts.reduce((a, b) => a + b, 0)], 'results');
  let at = 0;
  for (let round = 0; round < rounds; round++) {
    for (const { before, result } of calls) ops.copy(before, result);
    for (const { name, call } of calls) ops.dispatch(name, call);
    calls.forEach(({ result }, i) => {
      ops.copy(result, new Tensor(all.allocation, [counts[i]], 'results', 4 * at));
      at += counts[i];
    });
  }
  return all;
}

/** Integers must be equal; floats close. NaN fails. @returns {string} */
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
  if (Math.sqrt(difference / size) <= limit) return '';
  return `This GPU computes ${label} wrongly: element ${worst} is ${got[worst]}, `
    + `expected ${want[worst]}.`;
}
