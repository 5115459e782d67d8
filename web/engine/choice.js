/**
 * Which kernel computes each op of a model on this device: every candidate must agree with the
 * reference kernel there, a short race decides among those that do, and its winner is remembered.
 */
import { LIMITS, candidatesFor, exacter, referenceOf } from './candidates.js';
import { UnsupportedError } from './errors.js';
import { Kernels } from './kernels.js';
import { openTrial } from './trial.js';

/** All timed runs together take no longer, apart from the one that is under way. */
const RACE_MS = 1500;

/** Shapes are cut to these: enough to fill a GPU in a race; ragged and small for a check. */
const RACE = { M: 512, N: 1024, K: 3072 };
const CHECK = { M: 70, N: 75, K: 256 };

/** @typedef {import('./candidates.js').Candidate} Candidate */

/** @typedef {import('./candidates.js').Precision} Precision */

/**
 * op, constants and the dims [M, N, K] of the dearest call that was recorded; precision: the least
 * exact that is allowed there.
 * @typedef {{ op: string, constants: object, dims: { M: number, N: number, K: number },
 *   precision: Precision }} Site
 */

export class Choice {
  #device;
  #precision;
  #picked = new Map();
  #safe = '';
  #signal;
  #left = RACE_MS;
  /** @type {Map<string, Site>} what ops asked for */
  sites = new Map();

  /**
   * @param {import('./candidates.js').Device} device
   * @param {Precision} precision the least exact that is allowed
   */
  constructor(device, precision) {
    this.#device = device;
    this.#precision = precision;
  }

  /**
   * From now on the reference kernels alone: exact, plain, and those that need least of a device.
   * @param {string} reason what the table says of it
   */
  useReferences(reason) {
    this.#safe = reason;
    this.#picked.clear();
  }

  /** Whether the reference kernels alone are taken. */
  get safe() {
    return Boolean(this.#safe);
  }

  /**
   * The kernel for an op's call; before `decide` the best guess.
   * @param {string} op
   * @param {object} constants
   * @param {Site['dims']} dims
   * @param {Precision} [least] the least exact that the weight's component takes; an op that is
   *   allowed less there than elsewhere is decided for by itself
   * @returns {Candidate}
   */
  pick(op, constants, dims, least = this.#precision) {
    const precision = exacter(least, this.#precision);
    const own = precision === this.#precision ? '' : ` in ${precision}`;
    const key = `${Kernels.key(op, constants)}${own}`;
    const known = this.sites.get(key);
    const site = { op, constants, dims, precision };
    if (!(known && cost(known.dims) >= cost(dims))) this.sites.set(key, site);
    return this.#picked.get(key)?.candidate ?? this.#candidates(site)[0];
  }

  /**
   * Decides for every site that was recorded.
   * @param {import('./ops.js').Ops} ops with this choice
   * @param {{ get: (key: string) => string | undefined, set: (key: string, value: string) => void }}
   *   memory of earlier winners
   * @param {{ signal?: AbortSignal }} [options] an abort ends it before the next run
   */
  async decide(ops, memory, { signal } = {}) {
    this.#signal = signal;
    for (const [key, site] of this.sites) {
      const candidates = this.#candidates(site);
      const remembered = candidates.find((one) => labelOf(one) === memory.get(key));
      const race = await this.#race(ops, site, remembered ? [remembered] : candidates)
        .catch((error) => fallBack(ops, site, error));
      const again = remembered && race.why === 'the only one' ? 'won here before' : race.why;
      const reason = this.#safe || again;
      this.#picked.set(key, { ...race, reason });
      if (race.why === 'fastest') memory.set(key, labelOf(race.candidate));
    }
  }

  /** One row per op: what computes it, why, and what the others took. */
  get table() {
    return [...this.#picked].map(([op, { candidate, reason, times, refused }]) => (
      { op, kernel: labelOf(candidate), precision: candidate.precision, reason, times, refused }));
  }

  #candidates({ op, constants, precision }) {
    if (this.#safe) return [referenceOf(op, constants)];
    return candidatesFor(op, constants, this.#device, precision);
  }

  /** Those that are right, in the candidates' order; a CPU is asked for the first one alone. */
  async #check(ops, site, candidates) {
    const refused = {};
    const right = [];
    const trial = openTrial(ops, site, CHECK, this.#signal);
    const reference = referenceOf(site.op, site.constants);
    const want = trial.record(reference);
    const turns = this.#device.software ? candidates.map((one) => [one]) : [candidates];
    for (const turn of turns) {
      const results = turn.map((candidate) => trial.record(candidate)); // compiled side by side
      for (const [i, candidate] of turn.entries()) {
        const error = distance(await trial.read(results[i]), await trial.read(want));
        if (error <= LIMITS[candidate.precision]) right.push(candidate);
        else refused[labelOf(candidate)] = `differs from ${reference.name} by ${error.toPrecision(2)}`;
      }
      if (right.length) break;
    }
    ops.reset();
    return { right, refused };
  }

  /** The one that computes a site, and why. */
  async #race(ops, site, candidates) {
    const times = {};
    if (isReference(site, candidates[0])) {
      return { candidate: candidates[0], why: 'the reference', times, refused: {} };
    }
    const { right, refused } = await this.#check(ops, site, candidates);
    const [first = referenceOf(site.op, site.constants)] = right;
    if (this.#device.software) {
      return { candidate: first, why: 'preferred on a CPU', times, refused };
    }
    if (right.length < 2) return { candidate: first, why: 'the only one', times, refused };
    const trial = openTrial(ops, site, RACE, this.#signal);
    for (const candidate of right) {
      if (this.#left < 0) break;
      const start = performance.now();
      times[labelOf(candidate)] = await trial.time(candidate);
      this.#left -= performance.now() - start;
    }
    ops.reset();
    const timed = right.filter((candidate) => labelOf(candidate) in times);
    const candidate = timed.reduce((best, one) => (
      times[labelOf(one)] < times[labelOf(best)] ? one : best), timed[0] ?? first);
    return { candidate, why: timed.length ? 'fastest' : 'no time for a race', times, refused };
  }
}

/** The reference kernel, where a candidate does not even compile. */
function fallBack(ops, { op, constants }, error) {
  if (!(error instanceof UnsupportedError)) throw error;
  ops.reset();
  return { candidate: referenceOf(op, constants), why: 'another does not compile', times: {},
    refused: { [op]: error.message } };
}

function isReference({ op, constants }, { name }) {
  return name === referenceOf(op, constants).name;
}

function labelOf({ name, constants }) {
  return Kernels.key(name, constants);
}

function cost({ M, N, K }) {
  return M * N * K;
}

/** Relative Frobenius norm of a difference; NaN where one of them is not a number. */
function distance(got, want) {
  let difference = 0;
  let size = 0;
  want.forEach((value, i) => {
    difference += (got[i] - value) ** 2;
    size += value ** 2;
  });
  return Math.sqrt(difference / size);
}
