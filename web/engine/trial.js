/** One op on random numbers, in the shape of a model's dearest call or a part of it. */
import { recordAttention } from './attention.js';
import { inputUnit, recordLinear } from './linear.js';

/** Timed runs of a candidate; the fastest counts, since nothing makes a kernel faster by chance. */
const RUNS = 3;

/** Bytes of a float of each FORMAT. */
const FLOAT_BYTES = [4, 2, 2];

/** Pixels in a row of a convolution's picture. */
const PICTURE_WIDTH = 16;

/**
 * @param {import('./ops.js').Ops} ops
 * @param {import('./choice.js').Site} site
 * @param {{ M: number, N: number, K: number }} most the site's dims are cut to these
 * @param {AbortSignal} [signal] ends its runs
 * @returns {Trial}
 */
export function openTrial(ops, { op, constants, dims }, most, signal) {
  const cut = Object.fromEntries(Object.keys(most).map((d) => [d, Math.min(dims[d], most[d])]));
  const open = { attention: attentionCall, conv2d: convolutionCall }[op] ?? linearCall;
  return new Trial(ops, open(ops, new Random(ops), constants, cut), signal);
}

/** A call is { shape, dispatch(candidate, y) }: what comes out, and how it is recorded. */
class Trial {
  #ops;
  #call;
  #signal;

  constructor(ops, call, signal) {
    this.#ops = ops;
    this.#call = call;
    this.#signal = signal;
  }

  /** @returns {import('./memory.js').Tensor} what a kernel will have made of it */
  record(candidate, y = this.#ops.empty(this.#call.shape, 'trial result')) {
    this.#call.dispatch(candidate, y);
    return y;
  }

  /** @returns {Promise<Float32Array>} */
  async read(y) {
    return new Float32Array(await this.#ops.read(y, { signal: this.#signal }));
  }

  /** @returns {Promise<number>} milliseconds */
  async time(candidate) {
    const y = this.record(candidate);
    await this.#ops.run({ signal: this.#signal });
    let best = Infinity;
    for (let i = 0; i < RUNS; i++) {
      this.record(candidate, y);
      const start = performance.now();
      await this.#ops.run({ signal: this.#signal });
      best = Math.min(best, performance.now() - start);
    }
    return best;
  }
}

/** x [M, K] times a weight [N, K], packed where the constants have BITS. */
function linearCall(ops, random, constants, { M, N, K: most }) {
  const { BITS: bits, GROUP: group, BIASED: biased, FORMAT: format } = constants;
  const unit = inputUnit(constants);
  const K = Math.max(unit, most - most % unit);
  const x = random.activations([M, K]);
  const groups = N * K / group;
  const buffers = bits === undefined ? [random.weights(N * K, format)]
    : [random.codes(N * K * bits / 32, constants), random.weights(groups, format)];
  if (bits !== undefined) buffers.push(biased ? random.weights(groups, format) : buffers[1]);
  const dims = { M, N, K, K_all: K, n0: 0, k0: 0, gate_at: 0 };
  return {
    shape: [M, N],
    dispatch: (kernel, y) => recordLinear(ops, kernel, { constants, dims, x, buffers, y }),
  };
}

/** M queries, N keys, K elements of all heads. */
function attentionCall(ops, random, constants, { M, N, K }) {
  const heads = Math.max(1, Math.floor(K / constants.DH));
  const width = heads * constants.DH;
  const [q, k, v] = [M, N, N].map((rows) => random.activations([rows, width]));
  const bias = constants.BIAS && random.activations([heads, M + N - 1]);
  const dims = { Tq: M, Tk: N, Hq: heads, Hkv: heads, valid: N, q0: 0, scale: constants.DH ** -0.5 };
  return {
    shape: [M, width],
    dispatch: (kernel, o) => recordAttention(ops, kernel, { constants, dims, q, k, v, bias, o }),
  };
}

/** About M pixels of N channels, each of K inputs. */
function convolutionCall(ops, random, constants, { M, N, K }) {
  const { KS, UP, FORMAT: format } = constants;
  const Cin = Math.max(4, Math.floor(K / KS ** 2 / 4) * 4);
  const [H, W] = [Math.max(1, Math.ceil(M / UP ** 2 / PICTURE_WIDTH)), PICTURE_WIDTH];
  const x = random.activations([H, W, Cin]);
  const weight = random.weights(N * KS ** 2 * Cin, format);
  const bias = random.weights(N, 0);
  const dims = { H, W, Cin, Cout: N, row0: 0, rows: UP * H, y0: 0 };
  return {
    shape: [UP * H, UP * W, N],
    dispatch: ({ name, constants: own }, y) => ops.dispatch(name, {
      constants: { ...constants, ...own }, dims, tensors: [x, weight, bias, y] }),
  };
}

/** Tensors of random numbers: Park and Miller's, so that a trial is the same everywhere. */
class Random {
  #ops;
  #state = 1;

  constructor(ops) {
    this.#ops = ops;
  }

  /** Between -1 and 1. */
  activations(shape) {
    const count = shape.reduce((product, d) => product * d);
    const data = Float32Array.from({ length: count }, () => 2 * this.#next() - 1);
    return this.#ops.upload(data, shape, 'trial input');
  }

  /** About 0.02, f32, bf16 or f16 by FORMAT. */
  weights(count, format) {
    const words = Math.ceil(count * FLOAT_BYTES[format] / 4);
    const data = format === 0 ? Float32Array.from({ length: words }, () => 0.02 * (1 + this.#next()))
      : Uint32Array.from({ length: words }, () => this.#half(format) * 65537 >>> 0);
    return this.#ops.upload(data, [words], 'trial weights');
  }

  /** Words of codes; three of four values where they are ternary. */
  codes(count, { BITS: bits, ZERO: zero }) {
    const values = bits === 2 && zero === 1 ? 3 : 2 ** bits;
    const word = () => {
      let packed = 0;
      for (let bit = 0; bit < 32; bit += bits) packed |= Math.floor(values * this.#next()) << bit;
      return packed >>> 0;
    };
    return this.#ops.upload(Uint32Array.from({ length: count }, word), [count], 'trial codes');
  }

  #half(format) {
    return (format === 1 ? 0x3ca0 : 0x2500) + Math.floor(32 * this.#next());
  }

  #next() {
    this.#state = this.#state * 48271 % 2147483647;
    return this.#state / 2147483647;
  }
}
