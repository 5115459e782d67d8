/** Linear attention: sums over all tokens, once a head, instead of a score for each pair. */
import { ShapeError } from './errors.js';
import { expectShape } from './memory.js';

/** Tokens whose keys and values are summed by one workgroup: whole rows begin 256-byte aligned. */
const SLICE = 256;

/** Queries of one dispatch are a multiple of this, for the same reason. */
const ROW_STEP = 64;

/** The widest head that a workgroup has room for. */
export const MOST_HEAD_WIDTH = 64;

/** @typedef {import('./memory.js').Tensor} Tensor */

/**
 * Where heads lie in the rows of q, k and v, which are equally wide: `heads` of `headWidth`
 * columns, `step` apart, those of q, k and v from the columns `at` on. By default heads lie one
 * after another and fill the rows.
 * @typedef {{ headWidth: number, heads?: number, step?: number,
 *   at?: [number, number, number] }} Heads
 */

/**
 * (sum of relu(k) v) relu(q) / ((sum of relu(k)) . relu(q) + 1e-15): q, k, v [T, width] ->
 * [T, heads * headWidth]. The three may be one tensor.
 * @param {import('./recorder.js').Recorder} g
 * @param {Tensor} q
 * @param {Tensor} k
 * @param {Tensor} v
 * @param {Heads} heads
 * @throws {ShapeError}
 */
export function linearAttention(g, q, k, v, heads) {
  return g.scope(() => applySums(g, q, sumKeys(g, [[k, v]], heads), heads));
}

/**
 * The sums over all tokens, which may lie in several tensors: [heads, headWidth + 1, headWidth], of
 * which the last row is that of the keys.
 * @param {import('./recorder.js').Recorder} g
 * @param {[Tensor, Tensor][]} strips keys and values [T, width] of some of the tokens each
 * @param {Heads} heads
 */
export function sumKeys(g, strips, heads) {
  const { DH, H, ...places } = placesOf(strips[0][0], heads);
  for (const [k, v] of strips) {
    expectShape('linearAttention', k, [k.shape[0], places.width]);
    expectShape('linearAttention', v, k.shape);
  }
  const counts = strips.map(([k]) => Math.ceil(k.shape[0] / SLICE));
  const slices = counts.reduce((sum, count) => sum + count);
  return g.scope(() => {
    const partials = g.empty([slices, H, DH + 1, DH], 'sums of slices');
    let first = 0;
    strips.forEach(([k, v], i) => {
      sumStrip(g, k, v, partials, { DH, H, first, ...places });
      first += counts[i];
    });
    if (slices === 1) return partials.reshape(H, DH + 1, DH);
    const sums = g.empty([H, DH + 1, DH], 'sums of keys and values');
    g.dispatch('linear_attention_merge', {
      dims: { slices, count: sums.count }, tensors: [partials, sums], cost: partials.count,
    });
    return sums;
  });
}

function sumStrip(g, k, v, partials, { DH, H, first, width, step, k_at, v_at }) {
  const T = k.shape[0];
  const cost = 2 * SLICE * H * DH * (DH + 1);
  const most = Math.max(1, Math.floor(g.dispatchCost / cost)); // slices of a dispatch
  for (let slice = 0; slice * SLICE < T; slice += most) {
    const [at, count] = [slice * SLICE, Math.min(most * SLICE, T - slice * SLICE)];
    g.dispatch('linear_attention_sums', {
      constants: { DH },
      dims: { T: count, H, slice: SLICE, first: first + slice, width, step, k_at, v_at },
      tensors: [k.rows(at, count), v.rows(at, count), partials], cost: cost * count / SLICE,
    });
  }
}

/**
 * What queries [T, width] make of the sums: [T, heads * headWidth].
 * @param {import('./recorder.js').Recorder} g
 * @param {Tensor} q
 * @param {Tensor} sums as sumKeys gives them
 * @param {Heads} heads
 */
export function applySums(g, q, sums, heads) {
  const { DH, H, width, step, q_at } = placesOf(q, heads);
  expectShape('linearAttention', sums, [H, DH + 1, DH]);
  const T = q.shape[0];
  const o = g.empty([T, H * DH], 'linear attention');
  const rowCost = 2 * H * DH * (DH + 1);
  const most = Math.max(ROW_STEP, Math.floor(g.dispatchCost / rowCost / ROW_STEP) * ROW_STEP);
  for (let row = 0; row < T; row += most) {
    const count = Math.min(most, T - row);
    g.dispatch('linear_attention_apply', {
      constants: { DH }, dims: { T: count, H, width, step, q_at },
      tensors: [q.rows(row, count), sums, o.rows(row, count)], cost: count * rowCost,
    });
  }
  return o;
}

/**
 * Where the heads lie, checked.
 * @param {Tensor} rows
 * @param {Heads} heads
 */
function placesOf({ shape, width }, { headWidth: DH, heads, step = DH, at = [0, 0, 0] }) {
  const H = heads ?? Math.floor(width / step);
  const [q_at, k_at, v_at] = at;
  const inside = at.every((first) => first + (H - 1) * step + DH <= width);
  const whole = [DH, width, step, ...at].every((columns) => columns % 4 === 0);
  if (!inside || !whole || !(H >= 1) || !(DH >= 4 && DH <= MOST_HEAD_WIDTH)) {
    throw new ShapeError(`linearAttention: ${H} heads of ${DH}, ${step} apart from columns ${at}, `
      + `of rows [${shape}]; expected them inside, all in multiples of 4, heads of 4 to `
      + MOST_HEAD_WIDTH);
  }
  return { DH, H, width, step, q_at, k_at, v_at };
}
