/**
 * Which kernel computes each op of a model on this device: every candidate must agree with the
 * reference kernel there, a short race decides among those that do, and its winner is remembered.
 */
import { LIMITS, candidatesFor, referenceOf } from './candidates.js';
import { ModelError, UnsupportedError } from './errors.js';
import { Kernels } from './kernels.js';
import { recordLinear } from './linear.js';
import { selfCheck } from './selfcheck.js';

/** All timed runs together take no longer, apart from the one that is under way. */
const RACE_MS = 1500;

/** Timed runs of a candidate; the fastest counts, since nothing makes a kernel faster by chance. */
const RUNS = 3;

/** Shapes are cut to these: enough to fill a GPU in a race; ragged and small for a check. */
const RACE = { M: 512, N: 1024, K: 3072 };
const CHECK = { M: 70, N: 75, K: 256 };

/** @typedef {import('./candidates.js').Candidate} Candidate */

/**
 * op, constants and the dims [M, N, K] of the dearest call that was recorded.
 * @typedef {{ op: string, constants: object, dims: { M: number, N: number, K: number } }} Site
 */

export class Choice {
  #device;
  #precision;
  #picked = new Map();
  #left = RACE_MS;
  /** @type {Map<string, Site>} what ops asked for */
  sites = new Map();

  /**
   * @param {import('./candidates.js').Device} device
   * @param {string} precision the least exact that is allowed
   */
  constructor(device, precision) {
    this.#device = device;
    this.#precision = precision;
  }

  /** The kernel for an op's call; before `decide` the best guess. @returns {Candidate} */
  pick(op, constants, dims) {
    const key = Kernels.key(op, constants);
    const site = this.sites.get(key);
    if (!(site && cost(site.dims) >= cost(dims))) this.sites.set(key, { op, constants, dims });
    return this.#picked.get(key)?.candidate ?? this.#candidates({ op, constants })[0];
  }

  /**
   * Decides for every site that was recorded.
   * @param {import('./ops.js').Ops} ops with this choice
   * @param {{ get: (key: string) => string | undefined, set: (key: string, value: string) => void }}
   *   memory of earlier winners
   */
  async decide(ops, memory) {
    for (const [key, site] of this.sites) {
      const candidates = this.#candidates(site);
      const remembered = candidates.find((one) => labelOf(one) === memory.get(key));
      const decide = site.op.startsWith('linear') ? this.#race : this.#firstRight;
      const race = await decide.call(this, ops, site, remembered ? [remembered] : candidates)
        .catch((error) => fallBack(ops, site, error));
      const reason = remembered && race.why === 'the only one' ? 'won here before' : race.why;
      this.#picked.set(key, { ...race, reason });
      if (race.why === 'fastest') memory.set(key, labelOf(race.candidate));
    }
  }

  /** One row per op: what computes it, why, and what the others took. */
  get table() {
    return [...this.#picked].map(([op, { candidate, reason, times, refused }]) => (
      { op, kernel: labelOf(candidate), precision: candidate.precision, reason, times, refused }));
  }

  #candidates({ op, constants }) {
    return candidatesFor(op, constants, this.#device, this.#precision);
  }

  /** Those that are right, in the candidates' order; a CPU is asked for the first one alone. */
  async #check(ops, site, candidates) {
    const refused = {};
    const right = [];
    const trial = new Trial(ops, site, CHECK);
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

  /** Without a race: the first that computes its known answer, and why. */
  async #firstRight(ops, site, candidates) {
    const refused = {};
    for (const candidate of candidates) {
      const chosen = { candidate, times: {}, refused };
      if (isReference(site, candidate)) return { ...chosen, why: 'the reference' };
      try {
        const constants = { ...site.constants, ...candidate.constants };
        await selfCheck(ops, [[candidate.name, constants]]);
        return { ...chosen, why: 'preferred on a GPU' };
      } catch (error) {
        if (!(error instanceof UnsupportedError)) throw error;
        refused[labelOf(candidate)] = error.message;
      }
    }
    throw new UnsupportedError(`This GPU computes no kernel of ${site.op} rightly.`);
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
    const trial = new Trial(ops, site, RACE);
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

/** One op on random numbers in the shape of its dearest call. */
class Trial {
  #ops;
  #site;
  #tensors;

  constructor(ops, { op, constants, dims }, most) {
    this.#ops = ops;
    const { BITS: bits = 16, GROUP: group = 4, BIASED: biased = 0 } = constants;
    const [M, N] = [Math.min(dims.M, most.M), Math.min(dims.N, most.N)];
    const K = Math.max(group, Math.min(dims.K, most.K - most.K % group));
    const random = generator();
    const fill = (count, value) => Float32Array.from({ length: count }, value);
    const halves = (count) => Uint32Array.from({ length: Math.ceil(count / 2) },
      () => scaleBits(constants.FORMAT, random) * 65537 >>> 0);
    const floats = (count, label) => ops.upload(constants.FORMAT === 0
      ? fill(count, () => 0.02 * (1 + random())) : halves(count),
    [constants.FORMAT === 0 ? count : Math.ceil(count / 2)], label);
    const x = ops.upload(fill(M * K, () => 2 * random() - 1), [M, K], 'trial input');
    let weight;
    if (constants.BITS === undefined) {
      weight = [floats(N * K, 'trial weights')];
    } else {
      const codes = Uint32Array.from({ length: N * K * bits / 32 }, () => word(random, constants));
      const groups = N * K / group;
      const scales = floats(groups, 'trial scales');
      weight = [ops.upload(codes, [codes.length], 'trial codes'), scales,
        biased ? floats(groups, 'trial biases') : scales];
    }
    this.#site = { op, constants, dims: { M, N, K, K_all: K, n0: 0, k0: 0, gate_at: 0 } };
    this.#tensors = { x, buffers: weight };
  }

  /** @returns {import('./memory.js').Tensor} what a kernel will have made of it */
  record(candidate, y = this.#ops.empty(this.#shape, 'trial result')) {
    const { constants, dims } = this.#site;
    recordLinear(this.#ops, candidate, { constants, dims, ...this.#tensors, y, epilogue: 0 });
    return y;
  }

  /** @returns {Promise<Float32Array>} */
  async read(y) {
    return new Float32Array(await this.#ops.read(y));
  }

  /** @returns {Promise<number>} milliseconds */
  async time(candidate) {
    const y = this.record(candidate);
    await this.#ops.run();
    let best = Infinity;
    for (let i = 0; i < RUNS; i++) {
      this.record(candidate, y);
      const start = performance.now();
      await this.#ops.run();
      best = Math.min(best, performance.now() - start);
    }
    return best;
  }

  get #shape() {
    return [this.#site.dims.M, this.#site.dims.N];
  }
}

/** The reference kernel, where a candidate does not even compile. */
function fallBack(ops, { op, constants }, error) {
  if (!(error instanceof ModelError)) throw error;
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

/** Park and Miller's: the same trial everywhere. */
function generator() {
  let state = 1;
  return () => {
    state = state * 48271 % 2147483647;
    return state / 2147483647;
  };
}

/** A 16-bit float of about 0.02: bf16 or f16. */
function scaleBits(format, random) {
  return (format === 1 ? 0x3ca0 : 0x2500) + Math.floor(32 * random());
}

/** A word of codes; three of four values where codes are ternary. */
function word(random, { BITS: bits, ZERO: zero }) {
  let packed = 0;
  const values = bits === 2 && zero === 1 ? 3 : 2 ** bits;
  for (let bit = 0; bit < 32; bit += bits) packed |= Math.floor(values * random()) << bit;
  return packed >>> 0;
}
