/**
 * Pictures that are made some rows at a time, by several ops in turn: what lies between is never
 * whole, and the result is the same as if it were.
 */
import { ShapeError } from './errors.js';
import { ACT } from './linear.js';
import { expectShape } from './memory.js';
import { PictureOps } from './pictures.js';
import {
  Strips, emptyStrips, joinedRows, releaseAbove, rowsOf, stripAt, stripRows,
} from './strips.js';

/** @typedef {import('./memory.js').Tensor} Tensor */

/** @typedef {import('./pictures.js').Picture} Picture */

/**
 * Rows of a picture that are to be made: `count` of them, the picture's own from `row` on, as rows
 * `at` and on of `y`, a strip of it. They are those from `first` on of the enlarged `window`, rows
 * of the input that reach as far above and below as was asked for, where there are any.
 * @typedef {{ window: Tensor, first: number, count: number, row: number, y: Tensor,
 *   at: number }} Rows
 */

/** Over a pixel's channels; weight and bias [C]. @typedef {{ weight: Tensor, bias: Tensor,
 *   eps: number }} PixelNorm */

/**
 * Where rows of a result go: to rows `at` and on of `into`, added to what is there if asked.
 * @typedef {{ into: Tensor, at?: number, add?: boolean }} Target
 */

export class RowOps extends PictureOps {
  /**
   * A picture of this shape, of which `record` makes some rows at a time.
   * @param {Picture} x
   * @param {{ shape: number[], label: string, up?: 1 | 2, halo?: number, most?: number,
   *   height?: number, into?: Picture, last?: boolean }} options up: how much larger it is than x;
   *   halo: rows of x above and below that are needed; most: rows at a time; height: rows of a
   *   strip; last: x is needed no more, its strips are released once they are read
   * @param {(rows: Rows) => void} record what it allocates is released after it
   * @returns {Strips}
   */
  inRows(x, options, record) {
    const { shape, label, up = 1, halo = 0, most = Infinity, height, into, last } = options;
    const input = Strips.of(x);
    const made = into ? Strips.of(into) : emptyStrips(this, shape, height);
    expectShape(label, made, shape);
    const [H] = shape;
    for (let row = 0, end; row < H; row = end) {
      end = Math.min(H, (Math.floor(row / made.height) + 1) * made.height, row + most);
      const y = stripAt(this, made, row, label);
      const top = Math.max(0, Math.floor(row / up) - halo);
      const past = Math.min(input.shape[0], Math.floor((end - 1) / up) + 1 + halo);
      this.scope(() => {
        const { tensor: window, row: start } = joinedRows(this, input, top, past);
        record({ window, first: row - up * start, count: end - row, row, y,
          at: row % made.height });
      });
      if (last) releaseAbove(this, input, Math.floor(end / up) - halo);
    }
    if (last) releaseAbove(this, input, Infinity);
    return made;
  }

  /** Rows of [W, C] that are about as much as is made at a time. */
  rowsAtOnce(W, C) {
    return stripRows(this, W, C);
  }

  /**
   * x + norm(make of x). x is gone afterwards.
   * @param {Picture} x
   * @param {{ norm: PixelNorm, halo?: number, most?: number, height?: number }} options the
   *   numbers as inRows has them
   * @param {(rows: Rows) => Tensor} make [count, W, C]
   * @returns {Strips}
   */
  residual(x, { norm, ...options }, make) {
    const label = norm.weight.label;
    return this.inRows(x, { shape: x.shape, label, last: true, ...options }, (rows) => {
      const { window, first, count, y, at } = rows;
      this.copy(rowsOf(window, first, count), rowsOf(y, at, count));
      this.rmsNormPixels(make(rows), norm, { into: y, at, add: true });
    });
  }

  /**
   * act(x / rms(x) * weight + bias) of each pixel of x [H, W, C].
   * @param {Tensor} x
   * @param {PixelNorm} norm
   * @param {Target & { act?: keyof typeof ACT }} target
   */
  rmsNormPixels(x, { weight, bias, eps }, { into: y, at = 0, add = false, act = 'none' }) {
    const [, W, C] = x.shape;
    expectShape(`rmsNormPixels ${weight.label}`, weight, [C]);
    expectShape(`rmsNormPixels ${weight.label}`, y, [y.shape[0], W, C]);
    this.dispatch('rms_norm_pixels', {
      constants: { ...(ACT[act] && { ACT: ACT[act] }), ...(add && { ADD: 1 }) },
      dims: { P: x.count / C, C, x0: 0, y0: at * W, eps },
      tensors: [x, weight, bias, y], cost: 8 * x.count,
    });
    return y;
  }

  /**
   * Each channel of x [H, W, Cin] in a row as often as it takes to fill [up * H, up * W, Cout],
   * then up * up of them as the pixels of a square; rows first .. first + count - 1 of that.
   * @param {Tensor} x
   * @param {Target & { up: 1 | 2, first: number, count: number }} target
   */
  pixelShuffle(x, { up, first, count, into: y, at = 0, add = false }) {
    const [, W, Cin] = x.shape;
    const Cout = y.width;
    const REPEAT = up * up * Cout / Cin;
    expectShape(`pixelShuffle ${x.label}`, y, [y.shape[0], up * W, Cout]);
    if (!Number.isInteger(REPEAT)) {
      throw new ShapeError(`pixelShuffle ${x.label}: ${Cin} channels do not fill ${Cout} of `
        + `${up} x ${up} pixels`);
    }
    this.dispatch('pixel_shuffle', {
      constants: { UP: up, REPEAT, ...(add && { ADD: 1 }) },
      dims: { W, Cin, Cout, row0: first, rows: count, y0: at },
      tensors: [x, y], cost: 4 * count * up * W * Cout,
    });
    return y;
  }

  /**
   * A grouped 1x1 convolution: each K channels of x [H, W, C] through a matrix of their own.
   * @param {Tensor} x
   * @param {Tensor} weight [C, K, 1, 1] or [C, K]
   * @param {{ into: Tensor, at?: number }} target
   */
  linearGrouped(x, weight, { into: y, at = 0 }) {
    const [H, W, C] = x.shape;
    const K = weight.count / C;
    expectShape(`linearGrouped ${weight.label}`, y, [y.shape[0], W, C]);
    if (K % 4 || C % K) {
      throw new ShapeError(`linearGrouped ${weight.label}: ${weight.count} weights do not make `
        + `groups of ${C} channels, of a multiple of 4 each`);
    }
    const rowCost = 2 * K * W * C;
    const step = Math.max(1, Math.floor(this.dispatchCost / rowCost));
    for (let row = 0; row < H; row += step) {
      const count = Math.min(step, H - row);
      this.dispatch('linear_grouped', {
        dims: { P: count * W, C, K, x0: row * W, y0: (at + row) * W }, tensors: [x, weight, y],
        cost: count * rowCost,
      });
    }
    return y;
  }

  /** Channels of x [H, W, C] to those from `channel` on of rows `at` and on of y [*, W, Cy]. */
  placeChannels(x, { into: y, at = 0, channel }) {
    const [, W, C] = x.shape;
    const Cy = y.width;
    expectShape(`placeChannels ${x.label}`, y, [y.shape[0], W, Cy]);
    if (channel + C > Cy) {
      throw new ShapeError(`placeChannels ${x.label}: ${C} channels from ${channel} on, `
        + `${y.label} has ${Cy}`);
    }
    this.dispatch('place_channels', {
      dims: { P: x.count / C, C, Cy, y0: at * W, c0: channel }, tensors: [x, y],
      cost: 2 * x.count,
    });
    return y;
  }
}
