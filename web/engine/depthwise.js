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
 * @param {{ bias?: Tensor, gated?: boolean, row0?: number, rows?: number,
 *   into?: Tensor }} [options] bias [C]; only the rows of the result from row0 on, so many; default
 *   all
 * @throws {ShapeError}
 */
export function depthwise(g, x, weight, { bias, gated = false, row0 = 0, rows, into } = {}) {
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
  const y = into ?? g.empty([count, W, C], weight.label);
  expectShape(`depthwise ${weight.label}`, y, [count, W, C]);
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
  const { height: H, width: W, inverted: [wide, bias], depth: [taps, tapsBias], point } = parts;
  const [F2, D] = [wide.shape[0], x.width];
  expectShape(`glumbConv ${wide.label}`, x, [H * W, D]);
  expectShape(`glumbConv ${taps.label}`, taps, [3, 3, F2]);
  const y = options.into ?? g.empty([H * W, point.shape[0]], point.label);
  const strip = stripHeight(H, 4 * W * F2, parts.stripBytes ?? STRIP_BYTES);
  g.scope(() => {
    const middle = g.empty([Math.min(H, strip + 2), W, F2], wide.label);
    const gated = g.empty([strip, W, F2 / 2], taps.label);
    const carry = strip < H ? carrier(g, x, middle, strip) : null;
    for (let row = 0; row < H; row += strip) {
      const end = Math.min(H, row + strip);
      const [first, past] = [Math.max(0, row - 1), Math.min(H, end + 1)];  // rows of the middle
      const known = row ? carry.shared.shape[0] : 0;
      const count = past - first - known;
      if (row) g.copy(carry.shared, middle.rows(0, known));
      if (count) {
        const input = carry ? carry.rowsOfInput(first + known, count) : x;
        const into = middle.rows(known, count).reshape(count * W, F2);
        g.linear(input, wide, { bias, act: 'silu', into });
      }
      const rows = middle.rows(0, past - first);
      if (end < H) g.copy(rowsOf(rows, past - first - 2, 2), carry.shared);
      const halves = g.depthwise(rows, taps, { bias: tapsBias, gated: true, row0: row - first,
        rows: end - row, into: gated.rows(0, end - row) });
      g.linear(halves.reshape((end - row) * W, F2 / 2), point,
        { ...options, into: carry ? y.rows(row * W, (end - row) * W) : y });
    }
  });
  return y;
}

/**
 * What strips need beside their own rows: those of the middle that two of them share, and room for
 * those of x, for a view of x would not start aligned.
 * @param {import('./ops.js').Ops} g
 * @param {Tensor} x
 * @param {Tensor} middle
 * @param {number} strip
 */
function carrier(g, x, middle, strip) {
  const [D, [, W, F2]] = [x.width, middle.shape];
  const shared = g.empty([2, W, F2], 'rows of two strips');
  const input = g.empty([(strip + 1) * W, D], x.label);
  const map = x.reshape(x.shape[0] / W, W, D);
  const rowsOfInput = (first, count) => {
    const part = input.rows(0, count * W);
    g.copy(rowsOf(map, first, count), part);
    return part;
  };
  return { shared, rowsOfInput };
}

/** Rows of a strip, its neighbours' included at most `most` bytes; all of them if they fit. */
function stripHeight(rows, rowBytes, most) {
  if (rows * rowBytes <= most) return rows;
  return Math.max(ROW_STEP, Math.floor((most / rowBytes - 2) / ROW_STEP) * ROW_STEP);
}
