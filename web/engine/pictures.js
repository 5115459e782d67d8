/** The ops on pictures: channels last, [H, W, C], in strips of rows. */
import { ShapeError } from './errors.js';
import { FORMAT } from './kernels.js';
import { expectShape } from './memory.js';
import { Recorder } from './recorder.js';
import { Strips, emptyStrips, joinedRows, releaseAbove, stripAt } from './strips.js';

/** Pixels whose statistics one workgroup of group_norm_stats gathers, at most. */
const STATS_PIXELS = 1024;

/** @typedef {import('./memory.js').Tensor} Tensor */

/** @typedef {Strips | Tensor} Picture */

/**
 * weight [Cout, k, k, Cin] or [Cout, Cin], bias [Cout].
 * @typedef {{ weight: import('./weights.js').Weight, bias: Tensor, norm?: GroupNorm, up?: 1 | 2,
 *   down?: 1 | 2, into?: Picture, add?: boolean }} Convolution
 */

/**
 * Over the whole picture; weight and bias [C]; SiLU after it if asked.
 * @typedef {{ weight: Tensor, bias: Tensor, groups: number, eps: number,
 *   silu?: boolean }} GroupNorm
 */

export class PictureOps extends Recorder {
  /**
   * Convolution with zero padding, stride 1, of x [H, W, Cin], normalised first if asked, then
   * enlarged (nearest). With down: 2 instead 3x3 with stride 2, of x with zeros below and right.
   * @param {Picture} x
   * @param {Convolution} parts
   * @param {{ last?: boolean }} options last: x is needed no more, its strips are released once
   *   they are read
   * @returns {Strips} [up * H / down, up * W / down, Cout]
   */
  conv2d(x, parts, { last = false } = {}) {
    return this.#convolutions(Strips.of(x), [parts], last)[0];
  }

  /**
   * Two convolutions of x, for the last time, with outputs of one shape. They go through its strips
   * together, so that results take the room of what is read.
   * @param {Picture} x
   * @param {[Convolution, Convolution]} branches
   * @returns {Strips[]}
   */
  fork(x, branches) {
    return this.#convolutions(Strips.of(x), branches, true);
  }

  /**
   * Rows first .. first + count - 1 of what conv2d makes of x, which is one tensor.
   * @param {Tensor} x [H, W, Cin]
   * @param {Pick<Convolution, 'weight' | 'bias' | 'up' | 'add'>} parts
   * @param {{ first: number, count: number, into?: Tensor, at?: number }} rows into: they become
   *   rows `at` and on of this one
   * @returns {Tensor} [count, up * W, Cout], or `into`
   */
  conv2dRows(x, parts, { first, count, into, at = 0 }) {
    const branch = this.#branch(Strips.of(x), parts);
    const [, width, Cout] = branch.y.shape;
    const y = into ?? this.empty([count, width, Cout], parts.weight.label);
    expectShape(`conv2d ${parts.weight.label}`, y, [y.shape[0], width, Cout]);
    this.#convolve(x, y, { ...branch, row0: first, y0: at, rows: count });
    return y;
  }

  /** @param {Picture} x @param {GroupNorm} norm @returns {Tensor} [H, W, C] */
  groupNorm(x, norm) {
    const input = Strips.of(x);
    return this.scope(() => this.#normalised(input, 0, input.shape[0],
      { ...norm, stats: this.#statistics(input, norm) }).tensor);
  }

  /**
   * Tokens [h * w, 4 C] -> pixels [2 h, 2 w, C], each channel of a token times its scale plus its
   * shift ([4 C]).
   */
  unpatchify(tokens, { height, width, scale, shift }) {
    const C = tokens.width / 4;
    expectShape('unpatchify', tokens, [height * width, 4 * C]);
    const z = this.empty([2 * height, 2 * width, C], 'latent picture');
    this.dispatch('unpatchify', {
      dims: { h: height, w: width, C }, tensors: [tokens, shift, scale, z], cost: 2 * z.count,
    });
    return z;
  }

  /**
   * The way back: pixels z [2 h, 2 w, Cz] -> tokens [h * w, 4 C] of its first C channels, each less
   * its shift and divided by its scale ([4 C]).
   */
  patchify(z, { scale, shift }) {
    const [H, W, Cz] = z.shape;
    const [h, w, C] = [H / 2, W / 2, shift.count / 4];
    expectShape('patchify', scale, [4 * C]);
    const tokens = this.empty([h * w, 4 * C], 'latents of a picture');
    this.dispatch('patchify', {
      dims: { h, w, C, Cz }, tensors: [z, shift, scale, tokens], cost: 2 * tokens.count,
    });
    return tokens;
  }

  /** [H, W, 3] in -1..1 -> u32 [H, W], bytes r g b a. */
  toRgba(x) {
    const [H, W] = x.shape;
    expectShape('toRgba', x, [H, W, 3]);
    const rgba = this.empty([H, W], 'picture');
    this.dispatch('to_rgba', { dims: { P: H * W }, tensors: [x, rgba], cost: 8 * x.count });
    return rgba;
  }

  #convolutions(x, list, last) {
    const branches = list.map((parts) => this.#branch(x, parts));
    const [{ y: { height, shape: [H] }, up, down }] = branches;
    const most = Math.max(1, Math.floor(up * x.height / down));
    for (let row = 0, end; row < H; row = end) {
      end = Math.min(H, (Math.floor(row / height) + 1) * height, row + most);
      for (const branch of branches) this.#convolveRows(x, branch, row, end);
      if (last) releaseAbove(this, x, Math.min(...branches.map((one) => firstRow(one, end))));
    }
    if (last) releaseAbove(this, x, Infinity);
    branches.forEach(({ stats }) => stats && this.release(stats));
    return branches.map(({ y }) => y);
  }

  /**
   * Checks shapes, gathers statistics, and gives the output its place.
   * @param {Strips} x
   * @param {Convolution} parts
   */
  #branch(x, { weight, bias, norm, up = 1, down = 1, into, add = false }) {
    const [H, W, Cin] = x.shape;
    const Cout = weight.shape[0];
    const KS = weight.shape.length === 4 ? weight.shape[1] : 1;
    const fits = down === 1 || (KS === 3 && H % 2 === 0 && W % 2 === 0 && Cin % 4 === 0);
    if (!fits || weight.count !== Cout * KS * KS * Cin) {
      throw new ShapeError(`conv2d ${weight.label}: [${weight.shape}] does not fit `
        + `an input of [${x.shape}]`);
    }
    /** @type {[number, number, number]} */
    const shape = [up * H / down, up * W / down, Cout];
    const y = into ? Strips.of(into) : emptyStrips(this, shape);
    expectShape(`conv2d ${weight.label}`, y, shape);
    const format = { FORMAT: FORMAT[weight.storage] };
    const constants = down > 1 ? format : { KS, UP: up, ...format, ...(add && { ADD: 1 }) };
    const [above, below] = down > 1 ? [0, KS - 1] : [KS >> 1, KS >> 1];
    return { y, weight, bias, norm, up, down, above, below, constants,
      stats: norm && this.#statistics(x, norm) };
  }

  /** Rows row .. end - 1 of a branch, which lie in one strip of its output. */
  #convolveRows(x, branch, row, end) {
    const { y, norm, stats, up, down, below } = branch;
    const first = firstRow(branch, row);
    const past = Math.min(x.shape[0], Math.floor((down * (end - 1) + below) / up) + 1);
    const strip = stripAt(this, y, row, branch.weight.label);
    this.scope(() => {
      const source = norm ? this.#normalised(x, first, past, { ...norm, stats })
        : joinedRows(this, x, first, past);
      this.#convolve(source.tensor, strip, { ...branch,
        row0: down * row - up * source.row, y0: row % y.height, rows: end - row });
    });
  }

  /**
   * As joinedRows, normalised.
   * @param {Strips} x
   * @param {number} first
   * @param {number} past
   * @param {Omit<GroupNorm, 'eps'> & { stats: Tensor }} norm
   */
  #normalised(x, first, past, { stats, weight, bias, groups: G, silu = false }) {
    const [, W, C] = x.shape;
    const tensor = this.empty([past - first, W, C], weight.label);
    for (const { tensor: strip, at, row, count } of x.parts(first, past)) {
      this.dispatch('group_norm_apply', {
        constants: silu ? { SILU: 1 } : {},
        dims: { P: count * W, C, G, x0: at * W, y0: (row - first) * W },
        tensors: [strip, stats, weight, bias, tensor], cost: 8 * count * W * C,
      });
    }
    return { tensor, row: first };
  }

  /**
   * Mean and 1 / deviation of each group over all strips: [G, 2].
   * @param {Strips} x
   * @param {GroupNorm} norm
   */
  #statistics({ shape: [H, W, C], height, tensors }, { groups: G, eps }) {
    const P = H * W;
    const chunk = height < H ? largestDivisor(height * W, STATS_PIXELS) : STATS_PIXELS;
    return this.scope(() => {
      const partials = this.empty([Math.ceil(P / chunk), G, 2], 'group norm partials');
      const stats = this.empty([G, 2], 'group norm statistics');
      tensors.forEach((strip, i) => this.dispatch('group_norm_stats', {
        dims: { P: strip.count / C, C, G, chunk, first: i * height * W / chunk },
        tensors: [strip, partials], cost: 4 * strip.count,
      }));
      this.dispatch('group_norm_merge', {
        dims: { P, C, G, chunk, eps }, tensors: [partials, stats],
      });
      return stats;
    });
  }

  /** Which kernel computes M pixels of N channels, no less exactly than `least`. */
  #convolution({ KS, UP, FORMAT: format }, { down, M, N, Cin, least }) {
    if (down > 1) return { name: 'conv2d_down', constants: {} };
    if (Cin % 4) return { name: 'conv2d_ragged', constants: {} };
    const dims = { M, N, K: KS * KS * Cin };
    return this.choice.pick('conv2d', { KS, UP, FORMAT: format }, dims, least);
  }

  /**
   * `rows` rows of the convolution of x become rows y0 and on of y. The first is that of row row0
   * of x, enlarged.
   */
  #convolve(x, y, { constants, weight, bias, down, row0, y0, rows }) {
    const [H, W, Cin] = x.shape;
    const [, width, Cout] = y.shape;
    const rowCost = 2 * width * weight.count;
    const step = Math.max(1, Math.floor(this.dispatchCost / rowCost));
    const kernel = this.#convolution(constants,
      { down, M: rows * width, N: Cout, Cin, least: weight.precision });
    for (let done = 0; done < rows; done += step) {
      const count = Math.min(step, rows - done);
      this.dispatch(kernel.name, {
        constants: { ...constants, ...kernel.constants },
        dims: { H, W, Cin, Cout, row0: row0 + down * done, rows: count, y0: y0 + done },
        tensors: [x, weight.data, bias, y], cost: count * rowCost,
      });
    }
  }
}

/** The first row of its input that row `row` of a branch's output is made of. */
function firstRow({ above, up, down }, row) {
  return Math.max(0, Math.floor((down * row - above) / up));
}

/** The largest divisor of n that is not above `most`. */
function largestDivisor(n, most) {
  let divisor = most;
  while (n % divisor) divisor -= 1;
  return divisor;
}
