/**
 * MLPs of linears, by row chunks so that their wide middle stays small. M rows, D and N input and
 * output width, F middle width.
 */

/** @import { Ops } from './ops.js' */
/** @import { Tensor } from './memory.js' */
/** @import { Weight } from './weights.js' */

/** Rows of a chunk are a multiple of this, so that every chunk starts 256-byte aligned. */
const ROW_STEP = 64;

/** A middle stays below this. */
const CHUNK_BYTES = 16 * 2 ** 20;

/** @typedef {Parameters<Ops['linear']>[2]} LinearOptions */
/** @typedef {Parameters<Ops['linear']>[2]['act']} Act */

/**
 * Gated: y (+)= (act(x . Wg^T) * (x . Wu^T)) . Wo^T; SwiGLU with act silu, GeGLU with gelu_tanh.
 * @param {Ops} g
 * @param {Tensor} x [M, D]
 * @param {Record<'gate' | 'up' | 'down', [Weight, [number, number]?]>} parts each weight with the
 *   rows of it that are meant, of down the columns, as `linear` takes them
 * @param {Act} act
 * @param {LinearOptions} [options] what becomes of the result
 * @returns {Tensor} [M, N]
 */
export function gatedMlp(g, x, { gate, up, down }, act, options) {
  return inChunks(g, x, gate[1]?.[1] ?? gate[0].shape[0], down, (part) => {
    const middle = g.linear(part, gate[0], { rows: gate[1] });
    return g.linear(part, up[0], { rows: up[1], into: middle, act, glu: true });
  }, options);
}

/**
 * Plain: y (+)= act(x . Wu^T + bias) . Wo^T.
 * @param {Ops} g
 * @param {Tensor} x [M, D]
 * @param {{ up: [Weight, Tensor], down: [Weight, [number, number]?] }} parts up with its bias [F];
 *   of down the columns that are meant
 * @param {Act} act
 * @param {LinearOptions} [options] what becomes of the result, the bias of down among it
 * @returns {Tensor} [M, N]
 */
export function mlp(g, x, { up: [up, bias], down }, act, options) {
  return inChunks(g, x, up.shape[0], down, (part) => g.linear(part, up, { bias, act }), options);
}

/**
 * @param {Ops} g
 * @param {Tensor} x
 * @param {number} F
 * @param {[Weight, [number, number]?]} down
 * @param {(part: Tensor) => Tensor} middle rows of x -> [rows, F]
 * @param {LinearOptions} [options]
 */
function inChunks(g, x, F, [down, columns], middle, options = {}) {
  const M = x.shape[0];
  const y = options.into ?? g.empty([M, down.shape[0]], down.label);
  const step = Math.max(ROW_STEP, Math.floor(CHUNK_BYTES / (4 * F) / ROW_STEP) * ROW_STEP);
  for (let m = 0; m < M; m += step) {
    const count = Math.min(step, M - m);
    g.scope(() => {
      g.linear(middle(x.rows(m, count)), down, { ...options, columns, into: y.rows(m, count) });
    });
  }
  return y;
}
