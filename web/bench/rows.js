/** Times one row: the engine's ways of computing an op, and those of others beside them. */
import { PRECISIONS } from '../engine/candidates.js';
import { measure } from './measure.js';
import { generator } from './numbers.js';
import { SUBJECTS } from './subjects.js';

/** A result that is farther off, for which every precision has room, is another op's: no rate. */
const WRONG = 0.1;

/** Elements of a result that are compared with float64. */
const COMPARED = 256;

/** So many rows of a linear and more are what a step is made of. */
const MANY_ROWS = 64;

/** @import { Row } from './shapes.js' */

/**
 * @typedef {object} Line one way of computing a row
 * @property {'ours' | 'theirs'} kind
 * @property {string} name
 * @property {string} precision
 * @property {string} [provider] of onnxruntime's: 'webgpu' or 'wasm'
 * @property {import('./measure.js').Timing} [timing]
 * @property {number} [gflops] 10^9 operations a second
 * @property {number} [error] largest difference from float64 over the result's root mean square
 * @property {boolean} [wrong] the error is beyond what rounding explains
 * @property {string} [failed] why there is no time
 */

/**
 * bytes: what a run must read and write at least.
 * @typedef {Row & { flop: number, bytes: number, lines: Line[] }} TimedRow
 */

/**
 * @param {import('./engine.js').Engine} engine
 * @param {Row} row
 * @param {{ samples: number, sampleMs: number, signal?: AbortSignal,
 *   theirs?: { open: (row: Row, numbers: object) => Promise<any[]> } }} options
 * @returns {Promise<TimedRow>}
 */
export async function timeRow(engine, row, { samples, sampleMs, signal, theirs }) {
  const subject = SUBJECTS[row.op];
  const random = generator(row.id);
  const numbers = subject.numbers(row, random);
  const flop = subject.flop(row);
  const runners = [];
  try {
    const record = subject.upload(engine.ops, row, numbers);
    runners.push(...engine.variants(record).map((variant) => ours(engine.ops, variant)));
    if (theirs) runners.push(...await theirs.open(row, numbers));
    const lines = [];
    for (const pass of [runners.filter(onGpu), runners.filter((one) => !onGpu(one))]) {
      const timings = await measure(pass, { samples, sampleMs, signal });
      for (const [i, { kind, name, precision, provider, read }] of pass.entries()) {
        /** @type {Line} */
        const line = { kind, name, precision, provider, ...timings[i] };
        if (line.timing) {
          line.error = await errorOf(subject, row, numbers, read);
          line.wrong = !(line.error <= WRONG);
          line.gflops = flop / line.timing.medianMs / 1e6;
        }
        lines.push(line);
      }
    }
    return { ...row, flop, bytes: subject.bytes(row), lines };
  } finally {
    for (const runner of runners) await runner.close?.();
    engine.ops.reset();
  }
}

/** Threads of a CPU that wait for work would disturb a GPU that is a CPU: they come last. */
function onGpu({ provider }) {
  return provider !== 'wasm';
}

function ours(ops, { name, precision, record }) {
  return {
    kind: 'ours', name, precision,
    async run(runs) {
      for (let i = 0; i < runs; i++) ops.scope(() => { record(); });
      await ops.run();
    },
    /** The result, or its first strip. */
    async read() {
      const result = record();
      const [tensor, ...others] = result.tensors ?? [result];
      try {
        return new Float32Array(await ops.read(tensor));
      } finally {
        ops.release(tensor, ...others);
      }
    },
  };
}

/** Compares elements all over the result; NaN stays NaN. */
async function errorOf(subject, row, numbers, read) {
  const got = await read();
  const random = generator(`${row.id} elements`);
  let worst = 0;
  let size = 0;
  for (let i = 0; i < COMPARED; i++) {
    const at = random() % got.length;
    const want = subject.element(row, numbers, at);
    const difference = Math.abs(got[at] - want);
    if (!(difference <= worst)) worst = difference;
    size += want * want;
  }
  return worst / Math.sqrt(size / COMPARED);
}

/**
 * The best rates of this engine's own linears of many rows, 10^9 operations a second, by the least
 * exact precision that is allowed; 0: none ran.
 * @param {any[]} rows those that failed have no lines
 * @returns {Record<string, number>}
 */
export function linearRates(rows) {
  const lines = rows.filter(({ op, M }) => op === 'linear' && M >= MANY_ROWS)
    .flatMap((row) => row.lines ?? []).filter(({ kind, wrong }) => kind === 'ours' && !wrong);
  return Object.fromEntries(PRECISIONS.map((least, n) => [least, Math.max(0, ...lines
    .filter(({ precision }) => PRECISIONS.indexOf(precision) <= n)
    .map(({ gflops = 0 }) => gflops))]));
}
