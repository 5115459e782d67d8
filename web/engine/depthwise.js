/** Depth-wise convolutions of maps, channels last, and the gated MLP that is made of one. */
import { ShapeError } from './errors.js';
import { FORMAT } from './kernels.js';
import { expectShape } from './memory.js';
import { rowsOf } from './strips.js';

/** The MLP's wide middle stays below this, or is computed in strips of rows. */
const STRIP_BYTES = 64 * 2 ** 20;

/** Strips are multiples of so many rows of a map, so that they start 256-byte aligned. */
const ROW_STEP = 4;

/** @typedef {import('./memory.js').Tensor} Tensor */
/** @typedef {import('./weights.js').Weight} Weight */

/**
 * Each channel convolved by itself, zeros around: x [H, W, C], weight [KS, KS, C] -> [rows, W, C];
 * gated: halves a and b of the channels -> a * silu(b), [rows, W, C / 2].
 * @param {import('./recorder.js').Recorder} g
 * @param {Tensor} x
 * @param {Weight} weight
 * @param {{ bias?: Tensor, gated?: boolean, row0?: number, rows?: number }} [options] bias [C];
 *   only the rows of the result from row0 on, so many; default all
 * @throws {ShapeError}
 */
export function depthwise(g, x, weight, { bias, gated = false, row0 = 0, rows } = {}) {
  const [H, W, channels] = x.shape;
  const [KS] = weight.shape;
  const C = gated ? channels / 2 : channels;
  const count = rows ?? H - row0;
  expectShape(`depthwise ${weight.label}`, weight, [KS, KS, channels]);
  if (bias) expectShape(`depthwise ${weight.label} bias`, bias, [channels]);
  if (KS % 2 === 0 || C % 4 || row0 + count > H) {
    throw new ShapeError(`depthwise ${weight.label}: [${weight.shape}] of [${x.shape}], rows `
      + `${row0} + ${count}; expected an odd width, channels in multiples of 4, and rows inside`);
  }
  const y = g.empty([count, W, C], weight.label);
  const constants = { KS, FORMAT: FORMAT[weight.storage], ...(bias && { BIAS: 1 }),
    ...(gated && { GATED: 1 }) };
  const rowCost = 2 * W * KS * KS * channels;
  const step = Math.max(1, Math.floor(g.dispatchCost / rowCost));
  for (let done = 0; done < count; done += step) {
    const some = Math.min(step, count - done);
    g.dispatch('depthwise', {
      constants, dims: { H, W, C, row0: row0 + done, rows: some, y0: done },
      tensors: [x, weight.data, bias ?? weight.data, y], cost: some * rowCost,
    });
  }
  return y;
}

/**
 * GLUMBConv without its norm and residual: point . gated(depth * silu(inverted . x + bias) + bias),
 * of the tokens x [height * width, D] of a map. Where the middle [height * width, 2 F] is large it
 * goes by strips of rows, each with the row above and the row below, which the depth-wise
 * convolution sees; rows of the middle that two strips share are computed once.
 * @param {import('./ops.js').Ops} g
 * @param {Tensor} x
 * @param {{ height: number, width: number, inverted: [Weight, Tensor?], depth: [Weight, Tensor?],
 *   point: Weight, stripBytes?: number }} parts weights [2 F, D], [3, 3, 2 F], [D', F] and biases
 * @param {Parameters<import('./ops.js').Ops['linear']>[2]} [options] what becomes of the result
 * @returns {Tensor} [height * width, D']
 */
export function glumbConv(g, x, parts, options = {}) {
  const { height: H, width: W, inverted: [wide], depth: [taps], point } = parts;
  const [F2] = wide.shape;
  expectShape(`glumbConv ${wide.label}`, x, [H * W, x.width]);
  expectShape(`glumbConv ${taps.label}`, taps, [3, 3, F2]);
  const y = options.into ?? g.empty([H * W, point.shape[0]], point.label);
  const strip = stripHeight(H, 4 * W * F2, parts.stripBytes ?? STRIP_BYTES);
  let shared = null; // rows of the middle that the strip above computed: its last and one below
  for (let row = 0; row < H; row += strip) {
    const end = Math.min(H, row + strip);
    const above = shared;
    shared = g.scope(() => {
      const middle = middleRows(g, x, parts, { first: Math.max(0, row - 1),
        past: Math.min(H, end + 1), above });                                   // [rows, W, 2 F]
      const gated = depthwise(g, middle, taps, { bias: parts.depth[1], gated: true,
        row0: Math.min(row, 1), rows: end - row });
      g.linear(gated.reshape((end - row) * W, F2 / 2), point,
        { ...options, into: strip < H ? y.rows(row * W, (end - row) * W) : y });
      return end < H ? lastRows(g, middle, 2) : null;
    });
    if (above) g.release(above);
  }
  return y;
}

/**
 * Rows first .. past - 1 of the middle, of which `above` has the first two if it is given.
 * @param {import('./ops.js').Ops} g
 * @param {Tensor} x
 * @param {Parameters<typeof glumbConv>[2]} parts
 * @param {{ first: number, past: number, above: Tensor | null }} rows
 */
function middleRows(g, x, { width: W, inverted: [weight, bias] }, { first, past, above }) {
  const [F2, D] = [weight.shape[0], x.width];
  const middle = g.empty([past - first, W, F2], weight.label);
  const tokens = middle.reshape((past - first) * W, F2);
  const known = above ? above.shape[0] : 0;
  if (above) g.copy(above, rowsOf(middle, 0, known));
  const [start, count] = [first + known, past - first - known];
  if (count === 0) return middle;
  let part = x;
  if (count * W < x.shape[0]) {
    part = g.empty([count * W, D], x.label); // a view would not start aligned
    g.copy(rowsOf(x.reshape(x.shape[0] / W, W, D), start, count), part);
  }
  g.linear(part, weight, { bias, act: 'silu', into: tokens.rows(known * W, count * W) });
  return middle;
}

function lastRows(g, map, count) {
  const [H, W, C] = map.shape;
  const rows = g.empty([count, W, C], `${map.label}, last rows`);
  g.copy(rowsOf(map, H - count, count), rows);
  return rows;
}

/** Rows of a strip, its neighbours' included at most `most` bytes; all of them if they fit. */
function stripHeight(rows, rowBytes, most) {
  if (rows * rowBytes <= most) return rows;
  return Math.max(ROW_STEP, Math.floor((most / rowBytes - 2) / ROW_STEP) * ROW_STEP);
}
